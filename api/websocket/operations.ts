import { type ExecutionArgs, GraphQLError, type GraphQLFormattedError, getOperationAST } from 'graphql';
import { CloseCode, makeServer, type Server, type SubscribePayload } from 'graphql-ws';
import { addressKey } from '../../domain/network/address-key.ts';
import type { Semaphore } from '../../platform/async/semaphore.ts';
import { askerOf } from '../admission/admission.ts';
import { abandoned } from '../admission/request-work.ts';
import { bearerToken } from '../auth/cookies.ts';
import { type Client, type Context, contextAlone, type Services } from '../context.ts';
import { failure } from '../errors.ts';
import { GuardedStream } from '../graphql/guarded-stream.ts';
import { slimSubscription, subscribeSlim } from '../graphql/slim-subscription.ts';
import type { Graphql, Transport } from '../graphql/yoga.ts';
import type { Sent, SocketMessages } from './messages.ts';

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
  /** The places in which results of its subscriptions are made. */
  semaphore: Semaphore;
  messages: SocketMessages;
  /** Operations that have come and are not over, whatever has become of their ids: a client may complete one that waits, and use its id again. */
  underWay: number;
  /** Its subscriptions: the library forgets one whose id is used again, and they end with the socket all the same. */
  streams: Set<GuardedStream>;
  /** Runs `release` when the socket is gone: at once where it is already. */
  onGone(release: () => void): void;
  /** Whose socket it is, once that is known. */
  belongsTo(userId: string): void;
  /** What connection_init presented; looked up again for each operation. */
  token?: string | undefined;
};

interface Prepared {
  engine: ReturnType<Graphql['yoga']['getEnveloped']>;
  peer: Peer;
  /** As the client sent it; what the library is given, it holds for as long as the operation lasts. */
  sent: ExecutionArgs & { contextValue: Context };
  /** Of a subscription, for as long as it lasts. */
  release: () => void;
  /** Ends the turn that the operation begins in. */
  leave: () => void;
}

/** The protocol graphql-transport-ws over the engine that HTTP uses too, with the same limits. */
export function createSocketOperations({ yoga, maskError }: Graphql, services: Services): Server<Peer> {
  const { streams, identifier, admission, places } = services;
  const prepared = new WeakMap<object, Prepared>();

  async function prepare(
    peer: Peer,
    { params, length }: Sent,
    isWanted: () => boolean,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const askedAt = performance.now();
    const identity = peer.token === undefined ? Promise.resolve(undefined) : identifier.identify(peer.token);
    const asker = await askerOf(identity, peer.address);
    admission.count(asker);
    const release = admission.hold(asker, length);
    try {
      const leave = await admission.turn(asker, length);
      try {
        if (!isWanted()) throw abandoned(); // while it waited
        const args = await parsed(peer, { params, identity, askedAt, asker }, leave);
        if (Array.isArray(args)) leave(); // errors
        return args;
      } catch (error) {
        leave();
        throw error;
      }
    } finally {
      release();
    }
  }

  /** What the turn is for; it is over with the operation's answer, or when a subscription has begun. */
  async function parsed(
    peer: Peer,
    {
      params,
      identity,
      askedAt,
      asker,
    }: Pick<Transport, 'identity' | 'askedAt' | 'asker'> & { params: SubscribePayload },
    leave: () => void,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const { address, userAgent } = peer;
    const client: Client = { address, userAgent, transport: 'WEBSOCKET', setSession: () => undefined };
    const engine = yoga.getEnveloped({ client, token: peer.token, identity, askedAt, asker, params });
    const document = engine.parse(params.query);
    const errors = engine.validate(engine.schema, document);
    if (errors.length > 0) return errors;
    const { operationName, variables: variableValues } = params;
    const operation = getOperationAST(document, operationName);
    if (!operation) return [failure('BAD_REQUEST', 'Unable to identify operation')];
    const contextValue = contextAlone(await engine.contextFactory());
    const sent = { schema: engine.schema, document, operationName, variableValues, contextValue };
    if (operation.operation !== 'subscription') {
      prepared.set(sent, { engine, peer, sent, leave, release: () => undefined });
      return sent;
    }
    const { args, bytes } = slimSubscription(sent);
    prepared.set(args, { engine, peer, sent, leave, release: admission.hold(asker, bytes) });
    return args;
  }

  function take(args: ExecutionArgs): Prepared {
    const found = prepared.get(args);
    if (!found) throw new Error('An operation was not prepared.');
    prepared.delete(args);
    return found;
  }

  return makeServer<Record<string, unknown>, Peer>({
    connectionInitWaitTimeout: INIT_WAIT_MS,

    // The socket may go while its token is looked up: whatever is taken here is given to onGone, which knows.
    async onConnect({ connectionParams, extra: peer }) {
      const presented = bearerToken(connectionParams?.authorization ?? connectionParams?.Authorization);
      if (presented === undefined && !peer.hostIsKnown) return false;
      const token = presented ?? peer.cookie;
      const viewer = token === undefined ? undefined : await identifier.identify(token);
      if (token !== undefined && !viewer) return false; // closes with 4403
      peer.token = token;
      const place = viewer
        ? places.webSocketsOfUsers.take({ userId: viewer.user.id })
        : places.anonymousSockets.take({ address: addressKey(peer.address) });
      if (place.full) {
        peer.close(TRY_AGAIN_LATER, place.full.message);
        return false;
      }
      peer.onGone(place.release);
      if (viewer) peer.belongsTo(viewer.user.id);
      peer.onGone(
        streams.open(viewer?.tokenId, (reason) =>
          reason === 'TOKEN' ? peer.close(CloseCode.Forbidden, 'Forbidden') : peer.close(GOING_AWAY, 'Going away'),
        ),
      );
      return true;
    },

    async onSubscribe(socket, id, params) {
      const { extra: peer } = socket;
      const sent = peer.messages.take(params); // whatever becomes of it
      if (peer.underWay >= OPERATIONS_MAX) {
        return [failure('RATE_LIMITED', `A socket may have ${OPERATIONS_MAX} operations open: complete one first.`)];
      }
      peer.underWay += 1;
      const isWanted = () => id in socket.subscriptions; // neither completed, nor is the socket gone
      try {
        const args = await prepare(peer, sent, isWanted);
        if (Array.isArray(args)) peer.underWay -= 1; // errors
        return args;
      } catch (error) {
        peer.underWay -= 1;
        const masked = maskError(error); // thrown on, it would close the socket and every other subscription on it
        if (masked.extensions.code === 'UNAUTHENTICATED') peer.close(CloseCode.Forbidden, 'Forbidden');
        return [masked];
      }
    },
    async execute(args) {
      const { engine, peer, leave } = take(args);
      try {
        return await engine.execute(args);
      } finally {
        leave();
        peer.underWay -= 1;
      }
    },
    // Not the engine's, which would be held with its plugins for as long as the subscription lasts: a third of what one costs.
    async subscribe(args) {
      const { peer, sent, leave, release } = take(args);
      let endPlace: (() => void) | undefined;
      const releaseAll = () => {
        release();
        endPlace?.();
        peer.underWay -= 1;
      };
      try {
        endPlace = streams.openOnSocket({ viewer: sent.contextValue.viewer, address: peer.address });
        const stream = await subscribeSlim(sent, args, maskError, peer.semaphore);
        if (stream instanceof GuardedStream) {
          peer.streams.add(stream);
          stream.onEnd(() => {
            peer.streams.delete(stream);
            releaseAll();
          });
        } else releaseAll();
        return stream;
      } catch (error) {
        releaseAll();
        return { errors: [maskError(error)] }; // thrown on, it would close the socket
      } finally {
        leave();
      }
    },
    onNext: (_, __, ___, ____, result) =>
      result.errors ? { ...result, errors: result.errors.map(withoutHttp) } : undefined,
    onError: (_, __, ___, errors) => errors.map(withoutHttp),
  });
}

export const GOING_AWAY = 1001;
/** Clients of the protocol come again after it, as they do not after a code of its own. */
const TRY_AGAIN_LATER = 1013;
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
