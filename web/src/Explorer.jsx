import { GraphiQL } from 'graphiql';
import { useMemo } from 'react';

import { ActingAs } from './ActingAs.jsx';
import { fetcherFor } from './fetcher.js';
import { withAuthorization } from './headers.js';
import prices from './operations/prices.graphql?raw';
import ticks from './operations/ticks.graphql?raw';
import { forgetfulStorage } from './storage.js';

/** GraphiQL for one server: a query and a subscription to start from, and the sandbox's identities at hand. */
export function Explorer({ settings }) {
  const { tokens, defaultQuery } = settings;
  const fetcher = useMemo(() => fetcherFor(settings), [settings]);
  const storage = useMemo(() => forgetfulStorage('tidegate'), []);
  const defaultHeaders = tokens.length > 0 ? withAuthorization('', tokens[0].token) : undefined;

  return (
    <GraphiQL
      fetcher={fetcher}
      storage={storage}
      defaultTabs={[{ query: defaultQuery || prices }, { query: ticks }]}
      defaultHeaders={defaultHeaders}
      defaultEditorToolsVisibility="headers"
    >
      <GraphiQL.Logo>
        <h1 className="wordmark">Tidegate</h1>
      </GraphiQL.Logo>
      {tokens.length > 0 && (
        <GraphiQL.Footer>
          <ActingAs tokens={tokens} />
        </GraphiQL.Footer>
      )}
    </GraphiQL>
  );
}
