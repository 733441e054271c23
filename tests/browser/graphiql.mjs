// Uses the GraphiQL page of a running sandbox as its visitors do: `node graphiql.mjs http://127.0.0.1:PORT [SCRATCH]`.
//
// The steps share one page and run in order. The last line of the output is `browser: N passed, M failed`.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { launch, watch } from './chromium.mjs';
import { Editor, PATIENCE } from './editor.mjs';

const TICKS_WANTED = 3;

const steps = {
  'the page opens and knows the schema': async ({ editor, baseUrl }) => {
    await editor.open(baseUrl);
    assert.equal(await editor.title(), 'Tidegate');
    assert.match(await editor.documentedRoots(), /Subscription/);
  },

  'the query it opens with shows prices': async ({ editor }) => {
    await editor.run();
    const amounts = await editor.seeResult(text => text.includes('"cryptoPrices"') && amountsIn(text), 'prices');
    assert.ok(amounts.every(amount => Number(amount) > 0), `not prices: ${amounts}`);
  },

  'the subscription ticks until it is stopped': async ({ editor }) => {
    await editor.chooseTab('Ticks');
    await editor.run();
    const seen = new Set();
    await editor.seeResult(text => {
      amountsIn(text)?.forEach(amount => seen.add(amount));
      return seen.size >= TICKS_WANTED;
    }, `${TICKS_WANTED} different ticks`);
    await editor.stop();
  },

  'without a token the subscription is refused': async ({ editor }) => {
    await editor.actAs('nobody');
    await editor.run();
    await editor.seeResult(text => text.includes('UNAUTHENTICATED'), 'UNAUTHENTICATED');
    await editor.actAs({ index: 0 });
    await editor.run();
    await editor.seeResult(amountsIn, 'a tick for the first identity');
    await editor.stop();
  },

  'the browser keeps no token': async ({ editor }) => {
    const kept = await editor.keptByTheBrowser();
    assert.match(kept, /cryptoPrices/, 'the history should be kept');
    assert.doesNotMatch(kept, /Bearer/);
  },

  'nothing failed on the way and nothing left loopback': ({ complaints }) => {
    assert.deepEqual(complaints, []);
  },
};

/** The decimal amounts in a result; undefined where there is none. */
function amountsIn(text) {
  const amounts = [...text.matchAll(/"amount":\s*"(\d+(?:\.\d+)?)"/g)].map(([, amount]) => amount);
  return amounts.length > 0 ? amounts : undefined;
}

async function main([baseUrl, scratch = '.']) {
  assert.ok(baseUrl, 'usage: node graphiql.mjs BASE_URL [SCRATCH]');
  const browser = await launch();
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(PATIENCE);
  const complaints = await watch(context);
  const page = await context.newPage();
  const visit = { editor: new Editor(page), baseUrl, complaints };

  let failed = 0;
  for (const [name, step] of Object.entries(steps)) {
    const began = performance.now();
    try {
      await step(visit);
      console.log(`ok   ${name} (${Math.round(performance.now() - began)} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${name}\n${error.message}`);
      await keepPicture(page, scratch, failed);
    }
  }
  await browser.close();
  console.log(`browser: ${Object.keys(steps).length - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

async function keepPicture(page, scratch, number) {
  mkdirSync(scratch, { recursive: true });
  const path = join(scratch, `failure-${number}.png`);
  await page.screenshot({ path });
  console.log(`     what the page looked like: ${path}`);
}

await main(process.argv.slice(2));
