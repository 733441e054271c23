// What the tools do. Each is given its arguments and the call, and answers it, or does not.

import { appendFileSync, readFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const READS = { readOnlyHint: true };
const WRITES = { readOnlyHint: false, idempotentHint: false };
const PART = 65536;

const text = (text) => ({ type: "string", description: text });
const number = (text) => ({ type: "integer", minimum: 0, description: text });

export const OWN_TOOLS = {
  echo: tool("answers with the text", READS, { text: text("what to say") }, ["text"], ({ text }, call) => {
    call.answer(said(text));
  }),
  count: tool("adds a line to the file of --count; answers how many it has", WRITES,
    { note: text("what the line says"), ms: number("waits after that, before it answers") }, [], async ({ note, ms }, call) => {
      appendFileSync(call.flags.count, `${note ?? "called"}\n`);
      const lines = readFileSync(call.flags.count, "utf8").split("\n").length - 1;
      await sleep(ms ?? 0, null, { signal: call.cancelled });
      call.answer(said(String(lines)));
    }),
  sleep: tool("answers later", READS, { ms: number("how much later") }, ["ms"], async ({ ms }, call) => {
    await sleep(ms, null, { signal: call.cancelled });
    call.answer(said("awake"));
  }),
  progress: tool("tells of its progress", READS, { steps: number("how often"), ms: number("waits before each") }, ["steps"],
    async ({ steps, ms }, call) => {
      for (let step = 1; step <= steps; step++) {
        await sleep(ms ?? 0, null, { signal: call.cancelled });
        call.progress(step, steps, `step ${step}`);
      }
      call.answer(said("done"));
    }),
  fail: tool("answers that it failed", READS, { text: text("why") }, [], ({ text }, call) => {
    call.answer({ ...said(text ?? "it failed"), isError: true });
  }),
  big: tool("answers with a long text", READS, { bytes: number("how long") }, ["bytes"], ({ bytes }, call) => {
    const [head, tail] = JSON.stringify(call.message(said("\u0000"))).split("\\u0000");
    call.write(function* () {
      yield head;
      for (let left = bytes; left > 0; left -= PART) yield "x".repeat(Math.min(left, PART));
      yield `${tail}\n`;
    }, true);
  }),
  garbage: tool("writes a line that is no JSON, then answers", READS, {}, [], (_, call) => {
    call.write(() => ["listening on stdio, have fun\n"]);
    call.answer(said("after garbage"));
  }),
  wrong_id: tool("answers somebody else", READS, {}, [], (_, call) => {
    call.send({ ...call.message(said("for whom?")), id: "somebody-else" });
  }),
  silent: tool("never answers", READS, {}, [], () => {}),
  exit: tool("ends the process", WRITES, { code: number("its status"), half: { type: "boolean", description: "amid an answer" } }, [],
    async ({ code, half }, call) => {
      if (half) await call.write(() => [JSON.stringify(call.message(said("never"))).slice(0, 30)]);
      process.exit(code ?? 0);
    }),
  flood: tool("writes to standard error", READS, { lines: number("how many") }, ["lines"], ({ lines }, call) => {
    // As most programs do, it stands still while nobody reads what it writes.
    for (let line = 1; line <= lines; line++) writeSync(2, `warning ${line}: ${"all is well ".repeat(8)}\n`);
    call.answer(said("flooded"));
  }),
  secret_env: tool("says whether a variable of its environment is set", READS, { name: text("which") }, ["name"], ({ name }, call) => {
    call.answer(said(name in process.env ? "set" : "not set"));
  }),
  secret_header: tool("says whether a header came with the call", READS, { name: text("which") }, ["name"], ({ name }, call) => {
    call.answer(said(name.toLowerCase() in call.headers ? "set" : "not set"));
  }),
  process: tool("says which process it is", READS, {}, [], (_, call) => {
    call.answer(said(String(process.pid)));
  }),
  ask: tool("asks the client something; answers with what it said", READS, { method: text("such as roots/list"), params: { type: "object" } },
    ["method"], async ({ method, params }, call) => {
      call.answer(said(JSON.stringify(await call.ask(method, params ?? {}))));
    }),
};

function tool(description, annotations, properties, required, run) {
  return { definition: { description, inputSchema: { type: "object", properties, required }, annotations }, run };
}

export function said(text) {
  return { content: [{ type: "text", text }] };
}
