import type { IncomingMessage, ServerResponse } from 'node:http';
import { GraphQLError } from 'graphql';
import { type Asker, askerOf, bodyBytes } from './admission.ts';
import type { Caller } from './caller.ts';
import type { Connections } from './connections.ts';
import type { Client, Services } from './context.ts';
import { sessionCookie, setCookie } from './credentials.ts';
import type { Transport, Turn } from './graphql.ts';
import { pathOf } from './path.ts';
import { onClosed, refuseFull, type Sender, takePlaceOfUser } from './request-places.ts';
import { sendJson } from './send-json.ts';

/** Who asks over HTTP, and for how much at a time. Undefined where that is too much, and was answered. */
export async function httpTransport(
  request: IncomingMessage,
  response: ServerResponse,
  from: Sender,
  { services, connections }: { services: Services; connections: Connections },
): Promise<Transport | undefined> {
  const { identifier, admission } = services;
  const client = httpClient(request, response, from);
  const { token } = from;
  const identity = token === undefined ? Promise.resolve(undefined) : identifier.identify(token);
  const asker = await askerOf(identity, client.address);
  if (asker.userId !== undefined) {
    const full = takePlaceOfUser(request, response, asker.userId, { services, connections });
    if (full) {
      refuseFull(response, full, { graphql: pathOf(request) === '/graphql' });
      return undefined;
    }
  }
  try {
    admission.count(asker);
    onClosed(response, admission.hold(asker, bodyBytes(request)));
  } catch (error) {
    refuse(request, response, error);
    return undefined;
  }
  const turn = turnOf(services, asker, response);
  onClosed(response, turn.end);
  return { client, token, identity, asker, turn };
}

/** What was not read of the body is not: it would be as dear as the request. */
function refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (!(error instanceof GraphQLError)) throw error;
  const { message, extensions } = error;
  response.setHeader('retry-after', '1');
  if (bodyBytes(request) > UNREAD_BYTES_MAX) response.setHeader('connection', 'close');
  sendJson(response, 429, { errors: [{ message, extensions: { code: extensions.code } }] });
}

const UNREAD_BYTES_MAX = 64 * 1024;

function turnOf({ admission }: Services, asker: Asker, response: ServerResponse): Turn {
  let leave: (() => void) | undefined;
  return {
    async begin(length) {
      leave = await admission.turn(asker, length);
      if (response.destroyed) leave(); // its client has gone while it waited
    },
    end: () => leave?.(),
  };
}

function httpClient(request: IncomingMessage, response: ServerResponse, { address, secure }: Caller): Client {
  return {
    address,
    userAgent: request.headers['user-agent'],
    transport: 'HTTP',
    setSession(token) {
      if (token === undefined && sessionCookie(request, secure) === undefined) return;
      if (!response.headersSent) response.setHeader('set-cookie', setCookie(token, { secure }));
    },
    onGone: (gone) => onClosed(response, gone),
  };
}
