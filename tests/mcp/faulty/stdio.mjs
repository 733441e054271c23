// An MCP server that misbehaves as it is told, spoken to through its standard input and output, one message a line.
//
//   node tests/mcp/faulty/stdio.mjs --help
//
// What it can be told is in flags.mjs, what its tools do in tools.mjs, what it answers in server.mjs. It has no
// dependencies, so that it starts at once and nothing is between a test and what it says.

import { spawn } from "node:child_process";
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { flags as read, help } from "./flags.mjs";
import { Server } from "./server.mjs";

const flags = read(process.argv.slice(2));
if (flags().help) {
  console.log(help("stdio.mjs"));
  process.exit();
}
begin(flags());

const server = new Server(flags, output());
process.on("SIGUSR1", () => server.tellOfChange());
const input = createInterface({ input: process.stdin, crlfDelay: Infinity });
input.on("line", (line) => server.hear(JSON.parse(line)));
input.on("close", () => flags()["ignore-sigterm"] || process.exit());

/// What it does before it listens.
function begin(flags) {
  const appendPid = (pid) => flags["pid-file"] && appendFileSync(flags["pid-file"], `${pid}\n`);
  appendPid(process.pid);
  if (flags["exit-on-start"]) {
    console.error(new Error("cannot find what it needs to start").stack);
    process.exit(1);
  }
  if (flags["fork-child"]) {
    appendPid(spawn("sleep", ["1000"], { stdio: ["ignore", "inherit", "inherit"] }).pid);
  }
  if (flags["ignore-sigterm"]) {
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => {});
    // Nothing else keeps it once its input has ended.
    setInterval(() => {}, 1000);
  }
}

/// Writes one thing after the other, and no faster than they are read.
function output() {
  let written = Promise.resolve();
  const write = (parts) => {
    written = written.then(async () => {
      for (const part of parts()) await new Promise((done) => process.stdout.write(part, done));
    });
    return written;
  };
  process.stdout.on("error", () => flags()["ignore-sigterm"] || process.exit());
  return { write, send: (message) => write(() => [`${JSON.stringify(message)}\n`]) };
}
