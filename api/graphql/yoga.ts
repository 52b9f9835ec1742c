import type { IncomingMessage, ServerResponse } from 'node:http';
import { sendNodeResponse } from '@whatwg-node/server';
import type { ExecutionArgs } from 'graphql';
import { createYoga, type Plugin } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';
import { AnswerBudget } from '../answer-budget.ts';
import { AnswerRows } from '../answer-rows.ts';
import { type Context, NO_SUMMARIES, type Services } from '../context.ts';
import { maskErrors, unauthenticated } from '../errors.ts';
import { createLoaders, type Loaders } from '../loaders.ts';
import { LogPages } from '../logs/page.ts';
import { schema } from '../schema/schema.ts';
import { acceptance } from './acceptance.ts';
import { compression } from './compression.ts';
import { answerDirectly } from './direct-answer.ts';
import { subscribeDirectly } from './direct-subscription.ts';
import { documents } from './documents.ts';
import { type BegunStreams, eventStreams, sendEvents } from './event-stream.ts';
import { hiddenSchema, withoutSuggestion } from './introspection.ts';
import { operationLimits } from './limits.ts';
import { executePlanned } from './planned-execution.ts';
import { requestParams } from './request-params.ts';
import { snapshots } from './snapshot.ts';
import { streamGuard } from './stream-guard.ts';
import type { Transport } from './transport.ts';

const ENDPOINT = '/graphql';

export type Graphql = ReturnType<typeof createGraphql>;

/** The GraphQL engine of both transports. Log downloads use its context and its errors. */
export function createGraphql(services: Services) {
  const hidesSchema = services.settings.introspection === false;
  const mask = maskErrors(services.log);
  const maskError = hidesSchema ? (error: unknown) => withoutSuggestion(mask(error)) : mask;
  const loadersOf = loadersByUser(services);
  const contextOf = (transport: Transport) => createContext(services, loadersOf, transport);
  const begun: BegunStreams = new WeakMap();
  const yoga = createYoga<Transport, Context>({
    schema,
    graphqlEndpoint: ENDPOINT,
    context: contextOf,
    cors: false, // the router answers it, for downloads too
    batching: false,
    multipart: false,
    maxRequestBodySize: false, // api/graphql/request-body.ts limits it
    landingPage: false,
    graphiql: false, // the router serves it
    parserAndValidationCache: false, // api/graphql/documents.ts has its own
    logging: false, // `maskError` logs
    maskedErrors: { maskError, errorMessage: '' },
    plugins: [
      acceptance(),
      requestParams(),
      documents(),
      plannedExecution(),
      snapshots(), // within the turn that the limits give
      operationLimits(services.admission),
      ...(hidesSchema ? [hiddenSchema()] : []),
      streamGuard(maskError, begun),
      countedExecution(),
      eventStreams(begun),
      compression(),
      { onResponse: ({ response }) => keepPrivate(response.headers) },
    ],
  });
  /** Answers a request. Resolves with its subscription, if it has begun one. */
  async function answer(request: IncomingMessage, response: ServerResponse, transport: Transport) {
    if (await answerDirectly({ yoga, maskError }, request, response, transport)) return undefined;
    const direct = await subscribeDirectly({ yoga, begun }, request, response, transport);
    if (direct) {
      transport.params = undefined;
      return direct;
    }
    const { client } = transport;
    // Not with the response: a signal of the engine's would be held until that is closed.
    const answered = await yoga.handleNodeRequest(request, transport);
    transport.params = undefined; // a subscription lasts, and keeps its own part
    const { stream, isAnswered } = begun.get(client) ?? {};
    if (stream && isAnswered) response.writeHead(answered.status, Object.fromEntries(answered.headers));
    else await sendNodeResponse(answered, response, request, true);
    return isAnswered ? stream : undefined;
  }
  /** Answers a request, and sends the events of a subscription: then the answer is not held. */
  async function handle(request: IncomingMessage, response: ServerResponse, transport: Transport): Promise<void> {
    const stream = await answer(request, response, transport);
    return stream && sendEvents(response, stream);
  }
  return { yoga, maskError, contextOf, handle };
}

function keepPrivate(headers: Headers): void {
  if (!headers.has('cache-control')) headers.set('cache-control', 'private, no-store');
}

/**
 * Creates the context of an operation. Throws UNAUTHENTICATED if its token is not valid (any more).
 */
async function createContext(
  services: Services,
  loadersOf: (userId: string | undefined) => Loaders,
  { client, token, identity, askedAt, asker }: Transport,
): Promise<Context> {
  // The token is looked up again if that was some time ago: the body may have come slowly, or
  // waited for its turn, and the token may have ended since.
  const isStale = token !== undefined && performance.now() - askedAt > IDENTITY_MS_MAX;
  const viewer = isStale ? await services.identifier.identify(token) : await identity;
  if (token !== undefined && !viewer) {
    client.setSession(undefined); // so that the browser does not send it again
    throw unauthenticated();
  }
  const budget = new AnswerBudget();
  return {
    services,
    client,
    asker,
    viewer,
    load: loadersOf(viewer?.user.id),
    logPages: new LogPages(services.db, budget),
    budget,
    rows: new AnswerRows(),
    summaries: NO_SUMMARIES,
    isSnapshot: false,
  };
}

const IDENTITY_MS_MAX = 1_000;

/**
 * Loaders by user, shared by all of the user's requests and subscriptions. They cache nothing, and
 * would be the larger part of what a subscription holds.
 */
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

function plannedExecution(): Plugin<Context> {
  return {
    onExecute: ({ executeFn, setExecuteFn }) =>
      setExecuteFn((operation: ExecutionArgs) => executePlanned(operation, executeFn)),
  };
}

/**
 * Counts executions as work of their request. It is the last plugin, so that it covers what the
 * others do: a client that leaves does not end that work.
 */
function countedExecution(): Plugin<Context> {
  return {
    onExecute({ args, executeFn, setExecuteFn }) {
      const { work } = args.contextValue.client;
      if (work) setExecuteFn((operation: ExecutionArgs) => work.run(() => executeFn(operation)));
    },
  };
}
