import type { HeartbeatPayload } from '../../../../domain/payload/payload.ts';
import { decoded } from '../endpoint.ts';
import { CheckFailure } from '../run.ts';
import { ACCEPTED_ENCODINGS } from './encodings.ts';
import { bytesOf, type HeaderBytes } from './header-text.ts';

export interface Request {
  url: URL;
  method: string;
  /** By names in lower case. */
  headers: Record<string, HeaderBytes>;
  body: string | undefined;
}

/** The request that `payload` asks for. The text of a header is sent in UTF-8. */
export function firstRequest(payload: HeartbeatPayload<never>, url: URL): Request {
  const usual = {
    'user-agent': 'chronoverse-heartbeat',
    accept: '*/*',
    'accept-encoding': ACCEPTED_ENCODINGS,
    ...basic(url),
    ...(payload.host_header === undefined ? {} : { host: payload.host_header }),
  };
  const own = Object.entries(payload.headers ?? {}).map(
    ([name, value]) => [name.toLowerCase(), bytesOf(value)] as const,
  );
  // No assignment: a header may be called __proto__.
  const headers = Object.fromEntries([...Object.entries(usual), ...own]);
  return framed({ url, method: payload.method ?? 'GET', headers, body: payload.body });
}

/**
 * Headers that go along to another origin, unless they are secrets. Any other header might be a
 * secret of the first origin.
 */
const HARMLESS_HEADERS = new Set(['user-agent', 'accept', 'accept-encoding', 'accept-language', 'content-type']);

/** Headers that describe a body, and go with it. */
const OF_A_BODY = new Set(['content-type', 'content-encoding', 'content-language', 'content-location']);

/**
 * The request that follows a redirect with `status` to `url`. The headers of the `first` one hold
 * for its origin alone, and there again when a redirect leads back.
 */
export function nextRequest(
  first: Request,
  { url: from, method, headers, body }: Request,
  status: number,
  url: URL,
  secretHeaders: ReadonlySet<string> = new Set(),
): Request {
  const isHarmless = (name: string) => HARMLESS_HEADERS.has(name) && !secretHeaders.has(name);
  const isOwn = url.origin === first.url.origin;
  const stays = url.origin === from.origin;
  const all = Object.entries(isOwn && !stays ? first.headers : headers);
  const becomesGet = (status === 303 && method !== 'HEAD') || (status !== 307 && status !== 308 && method === 'POST');
  const hasLostBody = first.body !== undefined && (becomesGet || body === undefined);
  const kept = all.filter(([name]) => (isOwn || stays || isHarmless(name)) && !(hasLostBody && OF_A_BODY.has(name)));
  const host = isOwn ? (first.headers.host ?? url.host) : url.host;
  const next = { url, headers: { ...Object.fromEntries(kept), ...basic(url), host } };
  return framed(becomesGet ? { ...next, method: 'GET', body: undefined } : { ...next, method, body });
}

/** The bytes of `request`. The connection is used once. */
export function requestBytes({ url, method, headers, body }: Request): Buffer {
  const lines = Object.entries({ connection: 'close', ...headers }).map(([name, value]) => {
    expectOneLine(name, value);
    return `${name}: ${value}\r\n`;
  });
  const head = `${method} ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('')}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body ?? '')]);
}

/** A payload is checked when it is stored; a cookie comes from the endpoint. */
export function expectOneLine(name: string, value: HeaderBytes): void {
  if (/[\r\n\0]/.test(value)) throw new CheckFailure(`The request could not be made: ${name} has a line break.`);
}

/** We frame the message: a wrong length would only hang the check. */
function framed(request: Request): Request {
  const { 'transfer-encoding': _, 'content-length': __, host = request.url.host, ...headers } = request.headers;
  const length: Record<string, string> =
    request.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(request.body)) };
  return { ...request, headers: { host, ...headers, ...length } };
}

function basic({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const credentials = Buffer.from(`${decoded(username)}:${decoded(password)}`).toString('base64');
  return { authorization: `Basic ${credentials}` };
}
