import { STATUS_CODES } from 'node:http';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import type { Head } from './head.ts';
import type { HeaderBytes } from './header-text.ts';
import { expectOneLine, type Request } from './request.ts';

/** Headers about a connection of HTTP/1, which a request in HTTP/2 must not have. */
const OF_HTTP1 = new Set([
  'connection',
  'host', // it is :authority
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** The headers of `request` in HTTP/2. A server refuses blanks around a value. */
export function http2Headers({ url, method, headers }: Request): OutgoingHttpHeaders {
  const own = Object.entries(headers).filter(([name]) => !OF_HTTP1.has(name));
  for (const [name, value] of own) expectOneLine(name, value);
  return {
    ':method': method,
    ':scheme': 'https',
    ':authority': headers.host ?? url.host,
    ':path': `${url.pathname}${url.search}`,
    ...Object.fromEntries(own.map(([name, value]) => [name, value.trim()])),
  };
}

/** The head of a response. HTTP/2 has no reason beside the status, so it has the usual one. */
export function http2Head(received: IncomingHttpHeaders & { ':status'?: number }): Head {
  const headers = new Map<string, HeaderBytes[]>();
  for (const [name, value] of Object.entries(received)) {
    if (name.startsWith(':') || value === undefined) continue;
    headers.set(
      name,
      [value].flat().map((one) => String(one).trim()),
    );
  }
  const status = received[':status'] ?? 0;
  return { status, statusLine: `${status} ${STATUS_CODES[status] ?? ''}`.trim(), headers };
}

/** How long a head is, about as HTTP/1 counts it. */
export function headBytes({ headers }: Head): number {
  let bytes = 0;
  for (const [name, values] of headers) for (const value of values) bytes += name.length + value.length + 4;
  return bytes;
}
