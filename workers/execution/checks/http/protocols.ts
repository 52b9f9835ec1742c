import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { HeartbeatPayload } from '../../../../domain/payload/payload.ts';
import { CheckFailure } from '../run.ts';
import type { HttpProtocols } from '../tls-words.ts';
import type { Request } from './request.ts';

/**
 * What a check offers for `request`. As browsers and curl it prefers HTTP/2, except for what only
 * HTTP/1.1 has: the way into another protocol.
 */
export function protocolsFor({ http_version: version }: HeartbeatPayload<never>, request: Request): HttpProtocols {
  if (version === 'HTTP_2') return ['h2'];
  return version === 'HTTP_1_1' || 'upgrade' in request.headers ? ['http/1.1'] : ['h2', 'http/1.1'];
}

export function isHttp2(socket: Socket): boolean {
  return socket instanceof TLSSocket && socket.alpnProtocol === 'h2';
}

/** Throws for a server that has not agreed to HTTP/2. */
export function expectHttp2(socket: Socket, { method, url }: Request): void {
  if (isHttp2(socket)) return;
  const why = socket instanceof TLSSocket ? 'the server did not choose HTTP/2' : 'a check speaks it over TLS only';
  throw new CheckFailure(`No ${method} ${url.host} over HTTP/2: ${why}. HTTP/2 was expected (http_version).`);
}
