import type { ExecutionArgs, ExecutionResult, GraphQLError } from 'graphql';
import { CloseCode, makeServer, type Server, type SubscribePayload } from 'graphql-ws';
import { addressKey } from '../../domain/network/address-key.ts';
import { CancellableIterator } from '../../platform/async/iterator.ts';
import type { Semaphore } from '../../platform/async/semaphore.ts';
import { askerOf } from '../admission/admission.ts';
import { abandoned } from '../admission/request-work.ts';
import { bearerToken } from '../auth/cookies.ts';
import { type Client, type Context, contextAlone, type Services } from '../context.ts';
import { rateLimited, withoutHttp } from '../errors.ts';
import { chosenOperation } from '../graphql/chosen-operation.ts';
import { GuardedStream } from '../graphql/guarded-stream.ts';
import { paramsOf } from '../graphql/params.ts';
import { slimSubscription, subscribeSlim } from '../graphql/slim-subscription.ts';
import type { Transport } from '../graphql/transport.ts';
import type { Graphql } from '../graphql/yoga.ts';
import type { Sink } from '../live/frame.ts';
import type { Sent, SocketMessages } from './messages.ts';

/** One WebSocket as the protocol sees it: its client, and how to close it. */
export type Peer = {
  address: string;
  userAgent: string | undefined;
  /**
   * Whether the upgrade asked for a host name of ours. Under another name only a token is served.
   */
  hostIsKnown: boolean;
  /** The token in the Authorization header of the upgrade, used if connection_init has none. */
  upgradeToken: string | undefined;
  /** The token in the session cookie of the upgrade, used if neither presents one. */
  cookie: string | undefined;
  close(code: number, reason: string): void;
  /** Limits how many results of its subscriptions are made and sent at a time. */
  semaphore: Semaphore;
  /** The way of the results of the operation with this id. */
  sinkOf(id: string): Sink;
  messages: SocketMessages;
  /** Operations that are not over, also those that the client has completed. */
  underWay: number;
  /** Its subscriptions, which end with the socket. */
  streams: Set<GuardedStream>;
  /** Runs `release` when the socket is closed, or at once if it already is. */
  onGone(release: () => void): void;
  /** Says which user the socket belongs to, once that is known. */
  belongsTo(userId: string): void;
  /** The token of the socket. It is looked up again for each operation. */
  token?: string | undefined;
};

interface Prepared {
  id: string;
  engine: ReturnType<Graphql['yoga']['getEnveloped']>;
  peer: Peer;
  /**
   * The operation as the client sent it. The library holds what it is given for as long as the
   * operation lasts.
   */
  sent: ExecutionArgs & { contextValue: Context };
  /** Releases what a subscription holds. */
  release: () => void;
  /** Ends the turn of the operation. */
  leave: () => void;
}

/** Speaks graphql-transport-ws with the same engine and the same limits as HTTP. */
export function createSocketOperations({ yoga, maskError }: Graphql, services: Services): Server<Peer> {
  const { streams, identifier, admission, places } = services;
  const prepared = new WeakMap<object, Prepared>();

  async function prepare(
    peer: Peer,
    id: string,
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
        if (!isWanted()) throw abandoned(); // meanwhile the client has left
        const args = await parsed(peer, { id, params, identity, askedAt, asker }, leave);
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

  /**
   * Parses and validates an operation within its turn. The turn ends with the answer, or when a
   * subscription has begun.
   */
  async function parsed(
    peer: Peer,
    {
      id,
      params,
      identity,
      askedAt,
      asker,
    }: Pick<Transport, 'identity' | 'askedAt' | 'asker'> & { id: string; params: SubscribePayload },
    leave: () => void,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const { address, userAgent } = peer;
    const { query, operationName, variables: variableValues } = paramsOf(params);
    const client: Client = { address, userAgent, transport: 'WEBSOCKET', setSession: () => undefined, endTurn: leave };
    const engine = yoga.getEnveloped({ client, token: peer.token, identity, askedAt, asker, params });
    const document = engine.parse(query);
    const errors = engine.validate(engine.schema, document);
    if (errors.length > 0) return errors;
    const { operation } = chosenOperation(document, operationName);
    const contextValue = contextAlone(await engine.contextFactory());
    const sent = { schema: engine.schema, document, operationName, variableValues, contextValue };
    if (operation !== 'subscription') {
      prepared.set(sent, { id, engine, peer, sent, leave, release: () => undefined });
      return sent;
    }
    const { args, bytes } = slimSubscription(sent);
    prepared.set(args, { id, engine, peer, sent, leave, release: admission.hold(asker, bytes) });
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

    // The socket may close during the lookup: everything taken here is released through onGone,
    // which handles that.
    async onConnect({ connectionParams, extra: peer }) {
      const sent = bearerToken(connectionParams?.authorization ?? connectionParams?.Authorization);
      const presented = sent ?? peer.upgradeToken; // no page can set a header of an upgrade
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
      const sent = peer.messages.take(params); // taken even if it is refused
      if (peer.underWay >= OPERATIONS_MAX) {
        return [rateLimited(`A socket may have ${OPERATIONS_MAX} operations open: complete one first.`, {})];
      }
      peer.underWay += 1;
      // The client has not completed it, and the socket is open.
      const isWanted = () => id in socket.subscriptions;
      try {
        const args = await prepare(peer, id, sent, isWanted);
        if (Array.isArray(args)) peer.underWay -= 1; // errors
        return args;
      } catch (error) {
        peer.underWay -= 1;
        // Throwing would close the socket and every other subscription on it.
        const masked = maskError(error);
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
    // Not the engine's subscribe: that would be held with its plugins for the whole subscription, a
    // third of its cost.
    async subscribe(args) {
      const { id, peer, sent, leave, release } = take(args);
      let endPlace: (() => void) | undefined;
      const releaseAll = () => {
        release();
        endPlace?.();
        peer.underWay -= 1;
      };
      try {
        endPlace = streams.openOnSocket({ viewer: sent.contextValue.viewer, address: peer.address });
        const stream = await subscribeSlim(sent, args, maskError, peer.semaphore);
        if (!(stream instanceof GuardedStream)) {
          releaseAll();
          return stream;
        }
        peer.streams.add(stream);
        stream.onEnd(() => {
          peer.streams.delete(stream);
          releaseAll();
        });
        return new Delivery(stream, peer.sinkOf(id));
      } catch (error) {
        releaseAll();
        return { errors: [maskError(error)] }; // throwing would close the socket
      } finally {
        leave();
      }
    },
    onNext: (_, __, ___, ____, result) =>
      // Of a query, or of a subscription that has not begun.
      result.errors ? { ...result, errors: result.errors.map(withoutHttp) } : undefined,
    onError: (_, __, ___, errors) => errors.map(withoutHttp),
  });
}

/**
 * A subscription as the library sees it: without results, which go to the socket past it. It says
 * only when the subscription is complete.
 */
class Delivery extends CancellableIterator<ExecutionResult> {
  readonly #stream: GuardedStream;
  readonly #sink: Sink;

  constructor(stream: GuardedStream, sink: Sink) {
    super();
    this.#stream = stream;
    this.#sink = sink;
  }

  async next(): Promise<IteratorResult<ExecutionResult, void>> {
    await this.#stream.deliver(this.#sink);
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<ExecutionResult, void>> {
    this.#stream.end();
    return { done: true, value: undefined };
  }
}

export const GOING_AWAY = 1001;
/** Clients of the protocol reconnect after this code, but not after one of our own. */
const TRY_AGAIN_LATER = 1013;
/** Open operations of one socket, including subscriptions. */
export const OPERATIONS_MAX = 100;
const INIT_WAIT_MS = 5_000;
