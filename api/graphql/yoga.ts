import type { ExecutionArgs } from 'graphql';
import { createYoga, type Plugin } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';
import type { Identity } from '../../db/accounts/tokens.ts';
import { REQUEST_BYTES_MAX } from '../../domain/limits.ts';
import type { Asker } from '../admission/admission.ts';
import { abandoned } from '../admission/request-work.ts';
import { AnswerBudget } from '../answer-budget.ts';
import type { Client, Context, Services } from '../context.ts';
import { failure, maskErrors, unauthenticated } from '../errors.ts';
import { createLoaders, type Loaders } from '../loaders.ts';
import { schema } from '../schema/schema.ts';
import { documents } from './documents.ts';
import { hiddenSchema, withoutSuggestion } from './hidden-schema.ts';
import { jsonProblem } from './json-size.ts';
import { operationLimits } from './limits.ts';
import { streamGuard } from './stream-guard.ts';

/** What a transport knows of an operation. */
export interface Transport {
  client: Client;
  /** What was presented to tell who asks; '' is something that cannot be a token. */
  token: string | undefined;
  /** Whose it is, once it was looked up. */
  identity: Promise<Identity | undefined>;
  /** When that was, by performance.now(). */
  askedAt: number;
  asker: Asker;
  /** Of an operation over HTTP, which begins when its body has come. */
  turn?: Turn;
}

export interface Turn {
  begin(length: number): Promise<void>;
  end(): void;
}

const ENDPOINT = '/graphql';

export type Graphql = ReturnType<typeof createGraphql>;

/** The GraphQL engine that both transports run their operations in; a download takes its identity and its errors. */
export function createGraphql(services: Services) {
  const hidesSchema = services.settings.introspection === false;
  const mask = maskErrors(services.log);
  const maskError = hidesSchema ? (error: unknown) => withoutSuggestion(mask(error)) : mask;
  const loadersOf = loadersByUser(services);
  const contextOf = (transport: Transport) => createContext(services, loadersOf, transport);
  const yoga = createYoga<Transport, Context>({
    schema,
    graphqlEndpoint: ENDPOINT,
    context: contextOf,
    cors: false, // answered before, for downloads too
    batching: false,
    multipart: false,
    maxRequestBodySize: REQUEST_BYTES_MAX,
    landingPage: false,
    graphiql: false, // its page is served before
    parserAndValidationCache: false, // api/graphql/documents.ts has its own
    logging: false, // what is masked is logged where it is masked
    maskedErrors: { maskError, errorMessage: '' },
    plugins: [
      inTurns(),
      documents(),
      operationLimits(services.admission),
      ...(hidesSchema ? [hiddenSchema()] : []),
      streamGuard(maskError),
      countedExecution(),
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
  { client, token, identity, askedAt, asker }: Transport,
): Promise<Context> {
  // A body may come slowly, and a turn may be waited for: what was looked up before may have ended since.
  const isStale = token !== undefined && performance.now() - askedAt > IDENTITY_MS_MAX;
  const viewer = isStale ? await services.identifier.identify(token) : await identity;
  if (token !== undefined && !viewer) {
    client.setSession(undefined); // a browser does not offer it again
    throw unauthenticated();
  }
  return { services, client, asker, viewer, load: loadersOf(viewer?.user.id), budget: new AnswerBudget() };
}

const IDENTITY_MS_MAX = 1_000;

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

/** Last of the plugins, so that what the others do around an operation is within: a client that leaves does not end it. */
function countedExecution(): Plugin<Context> {
  return {
    onExecute({ args, executeFn, setExecuteFn }) {
      const { work } = args.contextValue.client;
      if (work) setExecuteFn((operation: ExecutionArgs) => work.run(() => executeFn(operation)));
    },
  };
}

/** A body that comes slowly takes nobody's turn. The turn is over when the answer, or the first part of a stream, is there to be sent. */
function inTurns(): Plugin<Context, Transport> {
  return {
    onRequestParse({ requestParser, setRequestParser, serverContext, fetchAPI }) {
      const { turn, client } = serverContext;
      if (!requestParser || !turn) return;
      setRequestParser(async (request) => {
        if (request.method === 'GET') {
          await turn.begin(0);
          return requestParser(request);
        }
        const body = await request.text().catch((error: unknown) => {
          throw client.work?.isAbandoned ? abandoned() : error; // a reset is its client's, and no part of ours is away
        });
        await turn.begin(body.length);
        const problem = jsonProblem(body);
        if (problem) throw failure('BAD_REQUEST', problem, { http: { status: 400, spec: true } });
        const { url, method, headers } = request;
        return requestParser(new fetchAPI.Request(url, { method, headers, body }));
      });
    },
    onResponse: ({ serverContext }) => serverContext.turn?.end(),
  };
}
