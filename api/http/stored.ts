import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import Negotiator from 'negotiator';
import { sendJson } from './send-json.ts';

/** An answer that is the same for all: made once, and never copied for a client that does not read. */
export interface Stored {
  bodies: { br?: Buffer; gzip: Buffer; identity: Buffer };
  /** Weak: the same for each encoding. */
  etag: string;
  headers: OutgoingHttpHeaders;
}

/** Sends the shortest form that the client takes, or 304 where it has it already. */
export function sendStored(
  request: IncomingMessage,
  response: ServerResponse,
  { bodies, etag, headers }: Stored,
): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    sendJson(response, 405, { message: `This can only be read: by GET or HEAD, not ${request.method}.` });
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
