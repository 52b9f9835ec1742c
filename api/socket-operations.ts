import {
  createSourceEventStream,
  type ExecutionArgs,
  execute,
  GraphQLError,
  type GraphQLFormattedError,
} from 'graphql';
import { CloseCode, makeServer, type Server, type SubscribePayload } from 'graphql-ws';
import type { Client, Services } from './context.ts';
import { costProblem } from './cost.ts';
import { bearerToken } from './credentials.ts';
import { failure } from './errors.ts';
import type { Graphql } from './graphql.ts';
import { TakingTurns, type Turns } from './socket-turns.ts';
import { GuardedStream, maskResult } from './stream-guard.ts';

/** A socket, to the protocol: who is at its other end, and how it is closed. */
export type Peer = {
  address: string;
  userAgent: string | undefined;
  /** Whether the upgrade asked for a name of ours: under another one it takes a token to be served. */
  hostIsKnown: boolean;
  /** The token of the session cookie that the upgrade carried: for a connection_init that presents none. */
  cookie: string | undefined;
  close(code: number, reason: string): void;
  /** Of its subscriptions, to make and send a message. */
  turns: Turns;
  /** What connection_init presented; looked up again for each operation. */
  token?: string | undefined;
  release?: () => void;
};

/** The protocol graphql-transport-ws over the engine that HTTP uses too, with the same limits. */
export function createSocketOperations({ yoga, maskError }: Graphql, { streams, identifier }: Services): Server<Peer> {
  const prepared = new WeakMap<object, { engine: ReturnType<typeof yoga.getEnveloped>; peer: Peer }>();

  async function prepare(peer: Peer, params: SubscribePayload): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const { address, userAgent } = peer;
    const client: Client = { address, userAgent, transport: 'WEBSOCKET', setSession: () => undefined };
    const engine = yoga.getEnveloped({ client, token: peer.token, params });
    const document = engine.parse(params.query);
    const errors = engine.validate(engine.schema, document);
    if (errors.length > 0) return errors;
    const args: ExecutionArgs = {
      schema: engine.schema,
      document,
      operationName: params.operationName,
      variableValues: params.variables,
      contextValue: await engine.contextFactory(),
    };
    prepared.set(args, { engine, peer });
    return args;
  }

  function take(args: ExecutionArgs): { engine: ReturnType<typeof yoga.getEnveloped>; peer: Peer } {
    const found = prepared.get(args);
    if (!found) throw new Error('An operation was not prepared.');
    prepared.delete(args);
    return found;
  }

  return makeServer<Record<string, unknown>, Peer>({
    connectionInitWaitTimeout: INIT_WAIT_MS,

    async onConnect({ connectionParams, extra: peer }) {
      const presented = bearerToken(connectionParams?.authorization ?? connectionParams?.Authorization);
      if (presented === undefined && !peer.hostIsKnown) return false;
      peer.token = presented ?? peer.cookie;
      const viewer = peer.token === undefined ? undefined : await identifier.identify(peer.token);
      if (peer.token !== undefined && !viewer) return false; // closes with 4403
      peer.release = streams.open(viewer?.tokenId, (reason) =>
        reason === 'TOKEN' ? peer.close(CloseCode.Forbidden, 'Forbidden') : peer.close(GOING_AWAY, 'Going away'),
      );
      return true;
    },
    onDisconnect: ({ extra }) => extra.release?.(),

    async onSubscribe({ subscriptions, extra: peer }, _, params) {
      if (Object.keys(subscriptions).length > OPERATIONS_MAX) {
        return [failure('RATE_LIMITED', `A socket may have ${OPERATIONS_MAX} operations open: complete one first.`)];
      }
      try {
        return await prepare(peer, params);
      } catch (error) {
        const masked = maskError(error); // thrown on, it would close the socket and every other subscription on it
        if (masked.extensions.code === 'UNAUTHENTICATED') peer.close(CloseCode.Forbidden, 'Forbidden');
        return [masked];
      }
    },
    execute: (args) => take(args).engine.execute(args),
    // Not the engine's, which would be held with its plugins for as long as the subscription lasts: a third of what one costs.
    async subscribe(args) {
      const { turns } = take(args).peer;
      const problem = costProblem(args); // of the limits the one that the engine would have counted here
      if (problem) return { errors: [problem] };
      const source = await createSourceEventStream(args);
      if (!(Symbol.asyncIterator in source)) return maskResult(source, maskError);
      const results = new TakingTurns(source, turns, (event) => execute({ ...args, rootValue: event }));
      return new GuardedStream(results, maskError);
    },
    onNext: (_, __, ___, ____, result) =>
      result.errors ? { ...result, errors: result.errors.map(withoutHttp) } : undefined,
    onError: (_, __, ___, errors) => errors.map(withoutHttp),
  });
}

export const GOING_AWAY = 1001;
/** Of one socket, subscriptions and other operations alike. */
export const OPERATIONS_MAX = 100;
const INIT_WAIT_MS = 5_000;

/** What tells HTTP a status means nothing here. */
function withoutHttp(error: GraphQLError | GraphQLFormattedError): GraphQLError {
  const { http: _, ...extensions } = error.extensions ?? {};
  if (!(error instanceof GraphQLError)) return new GraphQLError(error.message, { extensions });
  const { message, path, nodes, source, positions } = error;
  return new GraphQLError(message, { path, nodes, source, positions, extensions });
}
