// GraphiQL in the words of someone who uses it.

/** How long anything on the page may take before the test gives up, in milliseconds. */
export const PATIENCE = 30_000;

export class Editor {
  #page;

  constructor(page) {
    this.#page = page;
  }

  async open(baseUrl) {
    await this.#page.goto(`${baseUrl}/graphiql`);
    await this.#page.locator('.graphiql-query-editor .view-line').first().waitFor();
    await this.#page.locator('.graphiql-response').waitFor();
  }

  title() {
    return this.#page.title();
  }

  async chooseTab(name) {
    await this.#page.getByRole('tab').getByRole('button', { name, exact: true }).click();
    // GraphiQL reads a document a moment after showing it, and would run the tab before; it saves the text just then.
    await this.#page.waitForFunction(name => localStorage.getItem('tidegate:graphiql:query')?.includes(`${name} {`), name);
  }

  async actAs(name) {
    await this.#page.getByLabel('Acting as').selectOption(name);
  }

  run() {
    return this.#page.getByRole('button', { name: /^Execute query/ }).click();
  }

  stop() {
    return this.#page.getByRole('button', { name: /^Stop query/ }).click();
  }

  /** The names that the documentation pane lists, which it can only know from the server's schema. */
  async documentedRoots() {
    await this.#page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
    const pane = this.#page.getByRole('region', { name: 'Documentation Explorer' });
    await pane.getByRole('link', { name: 'Query', exact: true }).waitFor();
    const text = await pane.innerText();
    await this.#page.getByRole('button', { name: 'Hide Documentation Explorer' }).click();
    return text;
  }

  /** Everything that the page has left in the browser's storage, as one text. */
  keptByTheBrowser() {
    return this.#page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
  }

  /** Waits until the result pane's text makes `accept` return something, and returns that. */
  async seeResult(accept, what) {
    const lines = this.#page.locator('.graphiql-response .view-lines');
    const deadline = Date.now() + PATIENCE;
    let text = '';
    while (Date.now() < deadline) {
      // The editor draws spaces as no-break spaces.
      text = (await lines.innerText()).replaceAll('\u00a0', ' ');
      const seen = accept(text);
      if (seen) {
        return seen;
      }
      await this.#page.waitForTimeout(25);
    }
    throw new Error(`expected ${what} within ${PATIENCE} ms, but the pane says:\n${text}`);
  }
}
