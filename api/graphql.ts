import type { DocumentNode } from 'graphql';
import { createYoga } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';
import { REQUEST_BYTES_MAX } from '../domain/limits.ts';
import type { Client, Context, Services } from './context.ts';
import { maskErrors, unauthenticated } from './errors.ts';
import { graphiqlPage } from './graphiql-page.ts';
import { limitPlugins } from './limits.ts';
import { createLoaders, type Loaders } from './loaders.ts';
import { schema } from './schema.ts';
import { streamGuard } from './stream-guard.ts';

/** What a transport knows of an operation. */
export interface Transport {
  client: Client;
  /** What was presented to tell who asks; '' is something that cannot be a token. */
  token: string | undefined;
}

const ENDPOINT = '/graphql';

export type Graphql = ReturnType<typeof createGraphql>;

/** The GraphQL engine that both transports run their operations in; a download takes its identity and its errors. */
export function createGraphql(services: Services) {
  const maskError = maskErrors(services.log);
  const loadersOf = loadersByUser(services);
  const contextOf = ({ client, token }: Transport) => createContext(services, loadersOf, client, token);
  const yoga = createYoga<Transport, Context>({
    schema,
    graphqlEndpoint: ENDPOINT,
    context: contextOf,
    cors: false, // answered before, for downloads too
    batching: false,
    multipart: false,
    maxRequestBodySize: REQUEST_BYTES_MAX,
    landingPage: false,
    graphiql: false, // it would send 9 MB each time
    parserAndValidationCache: { documentCache: textCache<DocumentNode>(), errorCache: textCache<Error>() },
    logging: false, // what is masked is logged where it is masked
    maskedErrors: { maskError, errorMessage: '' },
    plugins: [
      ...limitPlugins(),
      streamGuard(maskError),
      graphiqlPage(ENDPOINT),
      { onResponse: ({ response }) => keepPrivate(response.headers) },
    ],
  });
  return { yoga, maskError, contextOf };
}

function keepPrivate(headers: Headers): void {
  if (!headers.has('cache-control')) headers.set('cache-control', 'private, no-store');
}

/** Who asks, and what is read for them. Throws UNAUTHENTICATED where a token is presented that is not valid (any more). */
async function createContext(
  services: Services,
  loadersOf: (userId: string | undefined) => Loaders,
  client: Client,
  token: string | undefined,
): Promise<Context> {
  const viewer = token === undefined ? undefined : await services.identifier.identify(token);
  if (token !== undefined && !viewer) {
    client.setSession(undefined); // a browser does not offer it again
    throw unauthenticated();
  }
  return { services, client, viewer, load: loadersOf(viewer?.user.id) };
}

/** One set for all requests and subscriptions of a user: they keep nothing, and are the larger part of what a subscription would hold. */
function loadersByUser({ db }: Services): (userId: string | undefined) => Loaders {
  const nobodys = createLoaders(db, () => {
    throw unauthenticated();
  });
  const known = new LRUCache<string, Loaders>({ max: LOADERS_MAX });
  return (userId) => {
    if (userId === undefined) return nobodys;
    const loaders = known.get(userId) ?? createLoaders(db, () => userId);
    known.set(userId, loaders);
    return loaders;
  };
}

const LOADERS_MAX = 1_000;

const CACHED_TEXTS_MAX = 1_000;
const CACHED_TEXT_LENGTH_MAX = 1_000_000; // together: a document takes some 50 times its text, and anybody may send one

/** By the text of a document, within bounds: those of the server library count entries alone, whatever their size. */
function textCache<Value extends object>(): LRUCache<string, Value> {
  return new LRUCache<string, Value>({
    max: CACHED_TEXTS_MAX,
    maxSize: CACHED_TEXT_LENGTH_MAX,
    sizeCalculation: (_, text) => text.length + 1,
  });
}
