// What the server tells the page: where to send operations and, in the sandbox only, who one may act as.
//
// { "endpoint": "/graphql", "subscriptionUrl": "/graphql", "defaultQuery": "…",
//   "tokens": [{ "label": "USER alice", "token": "eyJ…" }] }

export async function loadSettings() {
  const response = await fetch(`${import.meta.env.BASE_URL}settings.json`, { headers: { accept: 'application/json' } });
  if (!response.ok) {
    throw new Error(`settings.json answered ${response.status}`);
  }
  const { endpoint = '/graphql', subscriptionUrl = endpoint, tokens = [], defaultQuery = '' } = await response.json();
  return { endpoint, subscriptionUrl: webSocketUrl(subscriptionUrl), tokens, defaultQuery };
}

function webSocketUrl(path) {
  const url = new URL(path, window.location.href);
  url.protocol = url.protocol === 'https:' || url.protocol === 'wss:' ? 'wss:' : 'ws:';
  return url.href;
}
