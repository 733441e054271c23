// What the server can be told, on its command line or in a file that a test writes while it runs.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

// Each with the name of its value, where it has one.
const FLAGS = {
  era: ["ERA", "legacy (a handshake, up to 2025-11-25; the default), modern (2026-07-28), or both"],
  "says-version": ["VERSION", "the version that it says it has"],
  "lie-name": [null, "says it is a well-known server of version 999.0.0"],
  "exit-on-start": [null, "prints a stack trace and ends with status 1"],
  "hang-on-start": [null, "reads, and answers nothing at all"],
  "no-answer-to-list": [null, "never answers tools/list"],
  "empty-list-first": ["N", "the first N answers to tools/list are empty"],
  "own-tools": ["NAMES", "lists only these of its own tools, separated by commas; `none` for none"],
  "tools-file": ["FILE", "lists the tools of this JSON array as well, read anew for every list and call"],
  "ignore-sigterm": [null, "goes on after SIGTERM, SIGINT, SIGHUP, and the end of its input"],
  "fork-child": [null, "starts a `sleep 1000` that keeps its output open, and leaves it behind when it ends"],
  "pid-file": ["FILE", "appends its process id at the start, and that of its child"],
  count: ["FILE", "where the tool `count` adds a line for each call"],
  heard: ["FILE", "adds a line for each message: its method, and what is called or cancelled"],
  "flags-file": ["FILE", "further flags, one a line, read anew for every message; no file, no flags"],
  port: ["PORT", "http.mjs: where it listens, on loopback"],
  bearer: ["TOKEN", "http.mjs: answers 401 to all who come without"],
  sessions: [null, "http.mjs: has sessions in the older era, and forgets them all on SIGUSR2"],
  redirect: ["URL", "http.mjs: sends everybody there"],
  status: ["CODE", "http.mjs: answers everything with this status and a page of HTML"],
  help: [null, "this"],
};

const MORE = `A tool of that file whose name is one of its own only has another definition. Others answer with their arguments. Any that
has an "x-answer" answers with that, the result of a call. On SIGUSR1 the server says that its tools have changed.`;

export function help(program) {
  const lines = Object.entries(FLAGS).map(([name, [value, what]]) => `  --${value ? `${name} ${value}` : name}`.padEnd(26) + what);
  return [`node tests/mcp/faulty/${program} [FLAGS]: an MCP server that misbehaves as it is told`, "", ...lines, "", MORE].join("\n");
}

/// A function that says what the flags are at the moment.
export function flags(args) {
  const fixed = parse(args);
  const file = fixed["flags-file"];
  return () => (file ? { ...fixed, ...parse(linesOf(file)) } : fixed);
}

function parse(args) {
  const options = Object.entries(FLAGS).map(([name, [value]]) => [name, { type: value ? "string" : "boolean" }]);
  return parseArgs({ args, options: Object.fromEntries(options) }).values;
}

/// `--name value` on a line of its own is one flag with its value.
function linesOf(file) {
  let text = "";
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  return text.split("\n").filter(Boolean).map((line) => line.replace(/^(--\S+) /, "$1="));
}
