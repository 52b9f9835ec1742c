import type { HeartbeatPayload } from '../../../domain/payload/payload.ts';
import { connect } from './connect.ts';
import { decoded, hostOf, parseEndpoint, shown } from './endpoint.ts';
import { exchange, type Request, type Response } from './exchange.ts';
import { CheckFailure, type Run } from './run.ts';
import { secure } from './tls.ts';

const REDIRECTS_MAX = 5;

/**
 * http(s):// succeeds when the status is the expected one (by default any 2xx) and the body
 * contains the expected text. It follows redirects unless `follow_redirects` is false, because the
 * question is whether a visitor gets the page. A redirect whose own status is expected is the
 * answer. The body is searched as UTF-8 bytes, as received: the request asks for no encoding.
 */
export async function checkHttp(run: Run, payload: HeartbeatPayload<never>, endpoint: URL): Promise<void> {
  let request = firstRequest(payload, endpoint);
  for (let redirects = 0; ; redirects += 1) {
    const response = await ask(run, request, payload);
    const isFinal = payload.follow_redirects === false || payload.expected_status?.includes(response.status);
    const target = isFinal ? undefined : redirectOf(response);
    if (target === undefined) return judge(payload, request, response);
    if (redirects === REDIRECTS_MAX) {
      throw new CheckFailure(`${shown(endpoint)} redirected more than ${REDIRECTS_MAX} times, at last to ${target}.`);
    }
    request = nextRequest(request, response.status, target, run.context.secretHeaders);
    run.log(`Redirected to ${shown(request.url)}.`);
  }
}

async function ask(
  run: Run,
  request: Request,
  { body_contains: wanted, min_tls_days_left: daysMin }: HeartbeatPayload<never>,
): Promise<Response> {
  const { url } = request;
  const isSecure = url.protocol === 'https:';
  run.log(`${request.method} ${shown(url)}`);
  const connection = await connect(run, hostOf(url), Number(url.port || (isSecure ? 443 : 80)));
  const socket = isSecure ? await secure(run, connection, hostOf(url), daysMin) : connection.socket;
  return exchange(run, socket, request, wanted);
}

function judge(
  payload: HeartbeatPayload<never>,
  { method, url }: Request,
  { status, statusLine, location, body }: Response,
): void {
  const expected = payload.expected_status;
  const isExpected = expected?.includes(status) ?? (status >= 200 && status < 300);
  if (!isExpected) {
    const towards = location === undefined ? '' : ` (to ${location})`;
    const right = expected === undefined ? 'Any 2xx' : expected.join(' or ');
    throw new CheckFailure(`${method} ${shown(url)} answered ${statusLine}${towards}. ${right} was expected.`);
  }
  if (body.found) return;
  throw new CheckFailure(
    `${method} ${shown(url)} answered ${statusLine} with a body (${body.described}) that begins ${body.shown}. ` +
      `One that contains ${JSON.stringify(payload.body_contains)} was expected.`,
  );
}

function firstRequest(payload: HeartbeatPayload<never>, url: URL): Request {
  const usual = { 'user-agent': 'chronoverse-heartbeat', accept: '*/*', 'accept-encoding': 'identity', ...basic(url) };
  const own = Object.entries(payload.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value] as const);
  // No assignment: a header may be called __proto__.
  const headers = Object.fromEntries([...Object.entries(usual), ...own]);
  return framed({ url, method: payload.method ?? 'GET', headers, body: payload.body });
}

/**
 * Headers that go along to another origin, unless they are secrets. Any other header might be a
 * secret of the first origin.
 */
const HARMLESS_HEADERS = new Set(['user-agent', 'accept', 'accept-encoding', 'accept-language', 'content-type']);

function nextRequest(
  { url: from, method, headers, body }: Request,
  status: number,
  target: string,
  secretHeaders: ReadonlySet<string> = new Set(),
): Request {
  const { url } = parseEndpoint(target, from);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new CheckFailure(`${shown(from)} redirected to ${shown(url)}. A redirect to http or https was expected.`);
  }
  const isHarmless = (name: string) => HARMLESS_HEADERS.has(name) && !secretHeaders.has(name);
  const kept = Object.entries(headers).filter(([name]) => url.origin === from.origin || isHarmless(name));
  const becomesGet = (status === 303 && method !== 'HEAD') || (status !== 307 && status !== 308 && method === 'POST');
  const next = { url, headers: { ...Object.fromEntries(kept), ...basic(url) } };
  return framed(becomesGet ? { ...next, method: 'GET', body: undefined } : { ...next, method, body });
}

function redirectOf({ status, location }: Response): string | undefined {
  return [301, 302, 303, 307, 308].includes(status) ? location : undefined;
}

/** We frame the message: a wrong length would only hang the check. */
function framed(request: Request): Request {
  const { 'transfer-encoding': _, 'content-length': __, ...headers } = request.headers;
  const host = headers.host ?? request.url.host;
  const length: Record<string, string> =
    request.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(request.body)) };
  return { ...request, headers: { ...headers, host, ...length } };
}

function basic({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const credentials = Buffer.from(`${decoded(username)}:${decoded(password)}`).toString('base64');
  return { authorization: `Basic ${credentials}` };
}
