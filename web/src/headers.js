// Reads and rewrites the one header this page cares about in the text of the headers editor (JSON with comments).
import { tryParseJSONC } from '@graphiql/react';

export function bearer(token) {
  return `Bearer ${token}`;
}

/** The Authorization header in `text`; undefined where there is none, or where the text is not yet an object. */
export function authorizationOf(text) {
  const entry = Object.entries(parsed(text)).find(isAuthorization);
  return entry?.[1];
}

/** `text` with its Authorization replaced by `token`'s, or removed where `token` is undefined. Other headers stay. */
export function withAuthorization(text, token) {
  const others = Object.entries(parsed(text)).filter(entry => !isAuthorization(entry));
  const authorization = token === undefined ? [] : [['Authorization', bearer(token)]];
  const headers = Object.fromEntries([...authorization, ...others]);
  return Object.keys(headers).length === 0 ? '' : JSON.stringify(headers, null, 2);
}

function isAuthorization([name]) {
  return name.toLowerCase() === 'authorization';
}

function parsed(text) {
  try {
    return tryParseJSONC(text) ?? {};
  } catch {
    return {};
  }
}
