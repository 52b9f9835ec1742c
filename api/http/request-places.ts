import type { IncomingMessage, ServerResponse } from 'node:http';
import { addressKey } from '../../domain/network/address-key.ts';
import type { Asker } from '../admission/admission.ts';
import type { Connections } from '../admission/connections.ts';
import { FULL_RETRY_AFTER_SECONDS, type Full, statusOf } from '../admission/places.ts';
import type { RequestWork } from '../admission/request-work.ts';
import type { Caller } from '../auth/caller.ts';
import { isToken } from '../auth/tokens.ts';
import type { Services } from '../context.ts';
import { sendJson } from './messages.ts';

/** The sender of a request, and the token that it presents. */
export type Sender = Caller & { token: string | undefined };

interface Counting {
  services: Services;
  connections: Connections;
  work: RequestWork;
}

/**
 * Counts the request for its address until it is over. Returns the limit that is reached, if one
 * is.
 */
export function takePlaces(
  request: IncomingMessage,
  { address, isProxied, token }: Sender,
  { services: { places }, connections, work }: Counting,
): Full | undefined {
  const refused = connections.refusalOf(request.socket);
  if (refused) return refused;
  const key = addressKey(address);
  connections.belongsTo(request.socket, key);
  const kinds = [
    ...(isProxied ? [places.clients] : []), // otherwise the connection itself is counted
    ...(isToken(token) ? [] : [places.anonymousRequests]),
  ];
  for (const kind of kinds) {
    const place = kind.take({ address: key });
    if (place.full) return place.full;
    work.takes(place.release);
  }
  return undefined;
}

/**
 * Counts the request for its user, once the token is looked up, or for its address if the token is
 * not valid.
 */
export function takePlaceOfAsker(
  request: IncomingMessage,
  { userId }: Asker,
  { address, token }: Sender,
  { services: { places }, connections, work }: Counting,
): Full | undefined {
  if (userId === undefined && !isToken(token)) return undefined; // it already has a place
  const place =
    userId === undefined
      ? places.anonymousRequests.take({ address: addressKey(address) })
      : places.requests.take({ userId });
  if (place.full) return place.full;
  work.takes(place.release);
  if (userId !== undefined) connections.belongsTo(request.socket, `user ${userId}`);
  return undefined;
}

/**
 * Calls `run` when the response is closed, or at once if its client has already left: then no event
 * follows.
 */
export function onClosed(response: ServerResponse, run: () => void): void {
  if (response.destroyed) run();
  else response.once('close', run);
}

/** Answers a request that is over a limit, and closes the connection. */
export function refuseFull(response: ServerResponse, full: Full, { graphql }: { graphql: boolean }): void {
  const { message } = full;
  response.setHeader('connection', 'close');
  response.setHeader('retry-after', FULL_RETRY_AFTER_SECONDS);
  const extensions = {
    code: full.isOwn ? 'RATE_LIMITED' : 'UNAVAILABLE',
    retryAfterSeconds: FULL_RETRY_AFTER_SECONDS,
  };
  sendJson(response, statusOf(full), graphql ? { errors: [{ message, extensions }] } : { message });
}
