import { parse } from 'graphql';
import { learnFrom, withNewestIds } from './known-ids.js';
import { addUpLogs } from './log-lines.js';

/**
 * A fetcher that adds up the lines of logs, notes ids for other tabs, and says where to sign in. It
 * runs the operation of the document that it gets: right after another tab was opened, GraphiQL
 * still gives the name of the last one's.
 */
export function helpfulFetcher(fetcher) {
  return async (params, options) => {
    if (params.operationName === 'IntrospectionQuery') return fetcher(params, options);
    try {
      const operation = operationOf(params);
      const variables = await withNewestIds(params.variables, fetcher);
      const named = { ...params, variables, operationName: operation?.name?.value };
      // By it the fetcher chooses HTTP or WebSocket, and it too may be that of the last tab.
      const documentAST = operation ? { kind: 'Document', definitions: [operation] } : undefined;
      const result = await fetcher(named, { ...options, documentAST });
      if (Symbol.asyncIterator in result) return followed(result, addUpLogs(operation));
      learnFrom(result);
      return withHint(result);
    } catch (error) {
      return withHint(asResult(error));
    }
  };
}

/** The operation to run. Undefined if the document does not parse, which the server says. */
function operationOf({ query, operationName }) {
  let document;
  try {
    document = parse(query);
  } catch {
    return undefined;
  }
  const operations = document.definitions.filter(({ kind }) => kind === 'OperationDefinition');
  return operations.find(({ name }) => name?.value === operationName) ?? operations[0];
}

/** No generator, which could only be stopped when the next result arrives. */
function followed(results, addUp) {
  const iterator = results[Symbol.asyncIterator]();
  let failed = false;
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      if (failed) return { done: true, value: undefined };
      try {
        const { done, value } = await iterator.next();
        return { done, value: done ? value : withHint(addUp(value)) };
      } catch (error) {
        failed = true;
        return { done: false, value: withHint(asResult(error)) };
      }
    },
    return: (value) => iterator.return(value),
  };
}

/** What ended a subscription, as GraphQL errors: a list of them, or the socket's end. */
function asResult(error) {
  return {
    errors: Array.isArray(error) ? error : [{ message: error instanceof Error ? error.message : String(error) }],
  };
}

const HINT = 'Run the tab SignIn, or SignUp if you have no account yet.';

function withHint(result) {
  if (!result.errors?.some(isSignedOut)) return result;
  const errors = result.errors.map((error) =>
    isSignedOut(error) ? { ...error, message: `${error.message} ${HINT}` } : error,
  );
  return { ...result, errors };
}

function isSignedOut({ extensions, message }) {
  return extensions?.code === 'UNAUTHENTICATED' || message.includes('closed with event 4403');
}
