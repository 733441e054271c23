import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { getOperationAST } from 'graphql';
import { CloseCode, createClient } from 'graphql-ws';

/** Sends subscriptions over graphql-transport-ws to `subscriptionUrl`, and everything else to `endpoint`. */
export function fetcherFor({ endpoint, subscriptionUrl }) {
  // Incremental delivery off: the server answers in one piece, and only so does the page ask for graphql-response+json.
  const send = createGraphiQLFetcher({ url: endpoint, enableIncrementalDelivery: false });

  return (operation, options) =>
    isSubscription(operation, options) ? subscribe(subscriptionUrl, operation, options.headers) : send(operation, options);
}

function isSubscription({ operationName }, options) {
  return options?.documentAST && getOperationAST(options.documentAST, operationName)?.operation === 'subscription';
}

/**
 * One subscription on a socket of its own, with the headers editor's content as connection_init's payload.
 *
 * The toolkit's own way leaves an unhandled rejection behind for every `error` message of the server.
 */
function subscribe(url, operation, headers) {
  const client = createClient({
    url,
    connectionParams: headers,
    // A refused token stays refused: say so now instead of after the five attempts of the default.
    shouldRetry: event => event.code !== undefined && event.code !== CloseCode.Forbidden,
  });
  const messages = client.iterate(operation);
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => messages.next().catch(explain),
    return: () => messages.return(),
  };
}

/** A close event shows nothing when it is printed, so it takes the form of the server's own errors: a list. */
function explain(failure) {
  throw failure instanceof CloseEvent ? [{ message: `socket closed: ${failure.code} ${failure.reason}`.trim() }] : failure;
}
