import { createLocalStorage } from '@graphiql/toolkit';

const HISTORY = ['graphiql:queries', 'graphiql:favorites'];

/**
 * Keeps tabs, history and layout over reloads, but never a header.
 *
 * GraphiQL's history writes each run's headers, tokens included, to localStorage even where persisting headers is
 * off. The namespace keeps another server's GraphiQL, once served from the same address, out of this one's tabs.
 */
export function forgetfulStorage(namespace) {
  const storage = createLocalStorage({ namespace });
  const keep = storage.setItem;
  storage.setItem = (key, value) => keep(key, HISTORY.includes(key) ? withoutHeaders(value) : value);
  return storage;
}

function withoutHeaders(history) {
  return JSON.stringify(JSON.parse(history), (name, value) => (name === 'headers' ? undefined : value));
}
