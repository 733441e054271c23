// What the server answers, however it is spoken to.

import { appendFileSync, readFileSync } from "node:fs";
import { OWN_TOOLS, said } from "./tools.mjs";

const HANDSHAKE = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const MODERN = "2026-07-28";
const META = "io.modelcontextprotocol/";

// Of all who have asked.
let lists = 0;

class Refusal extends Error {
  constructor(code, message, data) {
    super(message);
    this.body = { code, message, data };
  }
}

export class Server {
  #flags;
  #wire;
  #hasShakenHands = false;
  #calls = new Map();
  #subscriptions = new Map();
  #asked = new Map();

  /// `wire.send(message)` writes a message, `wire.write(parts, isAnswer)` what the function `parts` yields. `wire.headers` is what
  /// came with the request, if anything did.
  constructor(flags, wire) {
    this.#flags = flags;
    this.#wire = wire;
  }

  /// Does what the message says. `wire` is where the answer goes.
  async hear(message, wire = this.#wire) {
    const flags = this.#flags();
    const { id, method, params = {} } = message;
    if (flags.heard) appendFileSync(flags.heard, `${[method ?? "answer", params.name ?? params.requestId ?? ""].join(" ").trim()}\n`);
    if (flags["hang-on-start"]) return;
    if (method === undefined) return this.#asked.get(id)?.(message.result ?? message.error);
    if (id === undefined) return this.#note(method, params);
    const isModern = this.#isModern(flags, params);
    const envelope = (result) => ({ jsonrpc: "2.0", id, result: isModern ? { resultType: "complete", ...result } : result });
    try {
      this.#admit(flags, method, isModern, params);
      const result = await this.#do(flags, { id, method, params, wire, isModern, envelope });
      if (result) wire.send(envelope(result));
    } catch (error) {
      if (error.name === "AbortError") return;
      const refusal = error instanceof Refusal ? error.body : { code: -32603, message: error.message };
      wire.send({ jsonrpc: "2.0", id, error: refusal });
    }
  }

  /// Says that the tools have changed, the way each era does.
  tellOfChange() {
    const method = "notifications/tools/list_changed";
    if (this.#hasShakenHands) this.#wire.send({ jsonrpc: "2.0", method });
    for (const [id, wire] of this.#subscriptions) wire.send({ jsonrpc: "2.0", method, params: subscribed(id) });
  }

  #isModern(flags, params) {
    return (flags.era === "modern" || flags.era === "both") && params._meta?.[`${META}protocolVersion`] !== undefined;
  }

  #admit(flags, method, isModern, params) {
    if (isModern) {
      const requested = params._meta[`${META}protocolVersion`];
      if (requested !== MODERN) throw new Refusal(-32022, "Unsupported protocol version", { supported: [MODERN], requested });
    } else if (flags.era === "modern") {
      throw method === "initialize"
        ? new Refusal(-32022, "Unsupported protocol version", { supported: [MODERN], requested: params.protocolVersion })
        : new Refusal(-32602, "the request says no protocol version");
    }
  }

  #do(flags, request) {
    const { id, method, params, wire, isModern } = request;
    switch (`${isModern ? "modern" : "legacy"} ${method}`) {
      case "legacy initialize": {
        this.#hasShakenHands = true;
        const protocolVersion = HANDSHAKE.includes(params.protocolVersion) ? params.protocolVersion : HANDSHAKE.at(-1);
        return { protocolVersion, capabilities: { tools: { listChanged: true } }, serverInfo: identity(flags) };
      }
      case "modern server/discover": {
        const _meta = { [`${META}serverInfo`]: identity(flags) };
        return { supportedVersions: [MODERN], capabilities: { tools: { listChanged: true } }, ...UNCACHED, _meta };
      }
      case "modern subscriptions/listen": {
        this.#subscriptions.set(id, wire);
        const notifications = { toolsListChanged: params.notifications?.toolsListChanged ?? false };
        const acknowledged = { ...subscribed(id), notifications };
        return void wire.send({ jsonrpc: "2.0", method: "notifications/subscriptions/acknowledged", params: acknowledged });
      }
      case "legacy ping":
        return {};
      case "legacy tools/list":
      case "modern tools/list": {
        if (flags["no-answer-to-list"]) return undefined;
        const isWarm = ++lists > Number(flags["empty-list-first"] ?? 0);
        return { tools: isWarm ? [...definitions(flags).values()].map(published) : [], ...(isModern && UNCACHED) };
      }
      case "legacy tools/call":
      case "modern tools/call":
        return this.#call(flags, request);
      default:
        throw new Refusal(-32601, "Method not found");
    }
  }

  async #call(flags, { id, params, wire, envelope }) {
    const definition = definitions(flags).get(params.name);
    if (!definition) throw new Refusal(-32602, `Unknown tool: ${params.name}`);
    if (definition["x-answer"]) return definition["x-answer"];
    const run = OWN_TOOLS[params.name]?.run ?? ((given, call) => call.answer(said(JSON.stringify(given))));
    const cancellation = new AbortController();
    this.#calls.set(id, cancellation);
    const progressToken = params._meta?.progressToken;
    const progress = (progress, total, message) =>
      wire.send({ jsonrpc: "2.0", method: "notifications/progress", params: { progressToken, progress, total, message } });
    try {
      await run(params.arguments ?? {}, {
        flags,
        cancelled: cancellation.signal,
        message: envelope,
        answer: (result) => wire.send(envelope(result)),
        send: (message) => wire.send(message),
        write: (parts, isAnswer) => wire.write(parts, isAnswer),
        headers: wire.headers ?? {},
        progress: progressToken === undefined ? () => {} : progress,
        ask: (method, question) => this.#ask(wire, `asked-by-${id}`, method, question),
      });
    } finally {
      this.#calls.delete(id);
    }
  }

  #ask(wire, id, method, params) {
    return new Promise((answered) => {
      this.#asked.set(id, answered);
      wire.send({ jsonrpc: "2.0", id, method, params });
    });
  }

  #note(method, params) {
    if (method !== "notifications/cancelled") return;
    this.#calls.get(params.requestId)?.abort();
    this.#subscriptions.delete(params.requestId);
  }
}

const UNCACHED = { ttlMs: 0, cacheScope: "private" };

function identity(flags) {
  if (flags["lie-name"]) return { name: "secure-filesystem-server", version: "999.0.0" };
  return { name: "faulty", version: flags["says-version"] ?? "1.0.0" };
}

function subscribed(id) {
  return { _meta: { [`${META}subscriptionId`]: id } };
}

/// The tools by their names.
function definitions(flags) {
  const own = flags["own-tools"]?.split(",") ?? Object.keys(OWN_TOOLS);
  const listed = own.filter((name) => name in OWN_TOOLS).map((name) => ({ name, ...OWN_TOOLS[name].definition }));
  const others = flags["tools-file"] ? JSON.parse(readFileSync(flags["tools-file"], "utf8")) : [];
  return new Map([...listed, ...others].map((tool) => [tool.name, tool]));
}

function published({ "x-answer": _, ...definition }) {
  return definition;
}
