import { createHash } from 'node:crypto';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import Negotiator from 'negotiator';
import { sendJson } from './messages.ts';

/** An answer that is the same for everyone: made once, and never copied for a slow client. */
export interface Stored {
  bodies: { br?: Buffer; gzip: Buffer; identity: Buffer };
  /** A weak one, the same for every encoding. */
  etag: string;
  headers: OutgoingHttpHeaders;
}

/** Sends the shortest encoding that the client accepts, or 304 if the client has it already. */
export function sendStored(
  request: IncomingMessage,
  response: ServerResponse,
  { bodies, etag, headers }: Stored,
): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    sendJson(response, 405, { message: `This can only be read, by GET or HEAD, not ${request.method}.` });
    return;
  }
  response.setHeader('etag', etag);
  if (headers.vary === undefined) response.appendHeader('vary', 'Accept-Encoding');
  const known = request.headers['if-none-match'];
  if (known !== undefined && (known === '*' || known.includes(etag))) {
    const { 'content-type': _, ...kept } = headers;
    response.writeHead(304, kept).end();
    return;
  }
  const accepted = new Negotiator(request).encodings(['br', 'gzip', 'identity']);
  const encoding = accepted.includes('br') && bodies.br ? 'br' : accepted.includes('gzip') ? 'gzip' : 'identity';
  const body = bodies[encoding] ?? bodies.identity;
  response.writeHead(200, {
    ...headers,
    'content-length': body.length,
    ...(encoding === 'identity' ? {} : { 'content-encoding': encoding }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

export function sha256(data: string | Buffer, encoding: 'base64' | 'base64url'): string {
  return createHash('sha256').update(data).digest(encoding);
}
