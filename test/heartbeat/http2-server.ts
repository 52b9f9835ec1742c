import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import http2 from 'node:http2';
import tls, { type TLSSocket } from 'node:tls';
import { afterAll, beforeAll } from 'vitest';
import { trustOf } from '../../workers/execution/checks/trust.ts';
import { type Authority, makeAuthority } from '../support/certificates.ts';
import { check, listening } from './support.ts';

interface Certificate {
  key: string;
  cert: string;
}

/** A server of HTTP/2 alone, or with HTTP/1.1 beside it. It returns what it was asked. */
export async function http2Server(
  certificate: Certificate,
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  options: http2.SecureServerOptions = {},
) {
  const requests: IncomingHttpHeaders[] = [];
  const server = http2.createSecureServer({ ...certificate, ALPNProtocols: ['h2'], ...options });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    requests.push(headers);
    onStream(stream, headers);
  });
  server.on('sessionError', () => undefined);
  const { host, port } = await listening(server);
  return { server, host, port, requests, endpoint: `https://${host}/` };
}

/** A server that agrees to HTTP/2 and sends these bytes when a check has sent its request. */
export async function frameServer(certificate: Certificate, send: (socket: TLSSocket) => void) {
  let received = 0;
  const server = tls.createServer({ ...certificate, ALPNProtocols: ['h2'] }, (socket) => {
    let wasAsked = false;
    socket.on('error', () => undefined);
    socket.on('data', (piece) => {
      received += piece.length;
      if (wasAsked) return;
      wasAsked = true;
      send(socket);
    });
  });
  const { host } = await listening(server);
  return { endpoint: `https://${host}/`, received: () => received };
}

/**
 * Returns a check of a server that sends frames, with a certificate that the check trusts. The test
 * fails if a connection stays open.
 */
export function frameVisits() {
  let authority: Authority;
  let own: Certificate;
  beforeAll(async () => {
    authority = await makeAuthority();
    own = authority.issue('own', ['IP:127.0.0.1'], 30);
  });
  afterAll(() => authority?.close());
  return async (send: (socket: TLSSocket) => void, payload: Parameters<typeof check>[0] = {}, userId = 'ann') => {
    const { endpoint } = await frameServer(own, send);
    const trust = trustOf({ ca: authority.ca });
    return check({ endpoint, timeout_seconds: 20, ...payload }, { trust, userId });
  };
}

export const sending =
  (...frames: Buffer[]) =>
  (socket: TLSSocket) =>
    socket.write(Buffer.concat(frames));
export const ending =
  (...frames: Buffer[]) =>
  (socket: TLSSocket) =>
    socket.end(Buffer.concat(frames));

/** Sends `first`, then `bytes` again and again, as fast as they are taken. */
export function flood(socket: TLSSocket, first: Buffer, bytes: Buffer): void {
  const many = Buffer.concat(Array<Buffer>(100).fill(bytes));
  const more = () => {
    if (socket.writable) socket.write(many, () => setImmediate(more));
  };
  socket.write(first, more);
}

export const END_STREAM = 1;
export const END_HEADERS = 4;

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export const settings = (payload?: Buffer) => frame(4, 0, 0, payload);
export const data = (text: string | Buffer, flags = END_STREAM) => frame(0, flags, 1, Buffer.from(text));
export const reset = (code: number) => frame(3, 0, 1, numbers(code));
export const goaway = (code: number, lastStream = 1, says = '') =>
  frame(7, 0, 0, Buffer.concat([numbers(lastStream, code), Buffer.from(says)]));

/** Headers in HPACK, without compression. */
export function headers(pairs: [name: string, value: string][], flags = END_HEADERS): Buffer {
  return frame(1, flags, 1, block(pairs));
}

export function block(pairs: [name: string, value: string][]): Buffer {
  return Buffer.concat(pairs.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

export const OK: [string, string][] = [[':status', '200']];

function text(value: string): Buffer {
  return Buffer.concat([integer(value.length), Buffer.from(value, 'latin1')]);
}

/** With a prefix of seven bits (RFC 7541, section 5.1). */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

export function numbers(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [n, value] of values.entries()) bytes.writeUInt32BE(value, 4 * n);
  return bytes;
}
