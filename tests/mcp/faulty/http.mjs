// The same server over streamable HTTP, at /mcp. Every answer is a stream of events.
//
//   node tests/mcp/faulty/http.mjs --port 8900 [--era both] [--sessions] [--bearer TOKEN]

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { flags as read, help } from "./flags.mjs";
import { Server } from "./server.mjs";

const flags = read(process.argv.slice(2));
if (flags().help) {
  console.log(help("http.mjs"));
  process.exit();
}

const HANDLERS = { POST: post, GET: get, DELETE: end };
/// By the ids that clients send. Each has a server of its own, and the stream on which that speaks unasked.
const sessions = new Map();
/// Servers that somebody listens to without a session.
const others = new Set();

process.on("SIGUSR1", () => [...sessions.values(), ...others].forEach(({ server }) => server.tellOfChange()));
process.on("SIGUSR2", () => sessions.clear());

const listener = createServer(async (request, response) => {
  const refusal = refusalOf(request);
  if (refusal) return refuse(response, ...refusal);
  await HANDLERS[request.method](request, response);
});
const { port } = flags();
listener.listen(Number(port), "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${port}/mcp`));

/// A status, headers and a body, where the request goes no further.
function refusalOf(request) {
  const { redirect, status, bearer } = flags();
  if (redirect) return [307, { location: redirect }];
  if (status) return [Number(status), { "content-type": "text/html" }, "<h1>Something went wrong</h1>"];
  if (bearer && request.headers.authorization !== `Bearer ${bearer}`) return [401, { "www-authenticate": "Bearer" }];
  if (request.url !== "/mcp") return [404];
  if (!(request.method in HANDLERS)) return [405];
  const id = request.headers["mcp-session-id"];
  return id && !sessions.has(id) ? [404, { "content-type": "application/json" }, '{"error":"session not found"}'] : undefined;
}

function refuse(response, status, headers = {}, body = "") {
  response.writeHead(status, headers).end(body);
}

async function post(request, response) {
  const message = await json(request);
  let session = sessions.get(request.headers["mcp-session-id"]);
  if (!session) {
    session = newSession();
    if (flags().sessions && message.method === "initialize") {
      const id = randomUUID();
      sessions.set(id, session);
      response.setHeader("mcp-session-id", id);
    }
  }
  if (message.id === undefined || message.method === undefined) {
    session.server.hear(message);
    return refuse(response, 202);
  }
  if (flags()["hang-on-start"]) return;
  const stream = events(response, request.headers);
  others.add(session);
  response.on("close", () => {
    others.delete(session);
    // In the newer era, who goes away has cancelled.
    const isModern = message.params?._meta?.["io.modelcontextprotocol/protocolVersion"];
    if (isModern && !response.writableFinished) {
      session.server.hear({ method: "notifications/cancelled", params: { requestId: message.id } });
    }
  });
  await session.server.hear(message, stream);
}

function get(request, response) {
  const session = sessions.get(request.headers["mcp-session-id"]);
  if (!session) return refuse(response, 405);
  session.unasked = events(response, request.headers);
}

function end(request, response) {
  refuse(response, sessions.delete(request.headers["mcp-session-id"]) ? 200 : 405);
}

/// What is said unasked goes to the stream that its client has opened for that, or is lost.
function newSession() {
  const session = {};
  session.server = new Server(flags, { send: (message) => session.unasked?.send(message), write: () => {} });
  return session;
}

/// A stream of events, which ends with the answer to the request.
function events(response, headers) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" }).flushHeaders();
  // Whoever asked has gone.
  response.on("error", () => {});
  let written = Promise.resolve();
  const write = (parts, isAnswer) => {
    written = written.then(async () => {
      response.write("data: ");
      for (const part of parts()) await new Promise((done) => response.write(part, done));
      response.write("\n");
      if (isAnswer) response.end();
    });
    return written;
  };
  const send = (message) => write(() => [`${JSON.stringify(message)}\n`], message.result !== undefined || message.error !== undefined);
  return { headers, write, send };
}
