// Starts the system's Chromium on a profile of its own, and keeps a record of everything that should not happen.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

import { chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const MACOS = ['/Applications/Chromium.app/Contents/MacOS/Chromium', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'];
const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost']);

/** Chromium without sandbox and without its own traffic; every name but loopback's is unknown to it. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || installed(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
    ],
  });
}

function installed() {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const candidates = [...NAMES.flatMap(name => folders.map(folder => join(folder, name))), ...MACOS];
  const found = candidates.find(isExecutable);
  if (found === undefined) {
    throw new Error('no Chromium found; run scripts/install-test-tools.sh, or set CHROMIUM to its path');
  }
  return found;
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Refuses whatever leaves loopback, and returns the growing list of that and of every complaint of the page. */
export async function watch(context) {
  const complaints = [];
  await context.route(leavesLoopback, async route => {
    complaints.push(`request beyond loopback: ${route.request().url()}`);
    await route.abort();
  });
  context.on('page', page => {
    page.on('websocket', socket => {
      if (leavesLoopback(new URL(socket.url()))) {
        complaints.push(`socket beyond loopback: ${socket.url()}`);
      }
    });
  });
  context.on('console', message => {
    if (message.type() === 'error') {
      complaints.push(`console error: ${message.text()} (${message.location().url})`);
    }
  });
  context.on('weberror', failure => complaints.push(`uncaught: ${failure.error()}`));
  return complaints;
}

function leavesLoopback(url) {
  return !['data:', 'blob:', 'about:'].includes(url.protocol) && !LOOPBACK.has(url.hostname);
}
