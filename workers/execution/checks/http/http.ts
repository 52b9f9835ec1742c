import { readUrl } from '../../../../domain/network/read-url.ts';
import type { HeartbeatPayload } from '../../../../domain/payload/payload.ts';
import { shown } from '../endpoint.ts';
import { reach } from '../reach.ts';
import { CheckFailure, type Run } from '../run.ts';
import type { HttpProtocols } from '../tls-words.ts';
import { BodyReader } from './body.ts';
import { Cookies } from './cookies.ts';
import { exchange, type Response } from './exchange.ts';
import type { Head } from './head.ts';
import { type HeaderBytes, referenceOf } from './header-text.ts';
import { Http1Wanted } from './http2.ts';
import { isExpected, judge, wantsOf } from './judge.ts';
import { expectHttp2, protocolsFor } from './protocols.ts';
import { firstRequest, nextRequest, type Request } from './request.ts';
import { shownTarget, URL_LENGTH_MAX } from './target.ts';
import { asksForWebSocket, newKey } from './websocket.ts';

const REDIRECTS_MAX = 5;

/**
 * http(s):// succeeds when the status is an expected one (by default any 2xx) and the body is as
 * expected. It follows redirects unless `follow_redirects` is false, because the question is
 * whether a visitor gets the page. A redirect whose own status is expected is the answer. Cookies
 * go along as in a browser.
 */
export async function checkHttp(run: Run, payload: HeartbeatPayload<never>, endpoint: URL): Promise<void> {
  const cookies = new Cookies();
  const key = payload.websocket === true ? newKey() : undefined;
  const redirectsMax = payload.max_redirects ?? REDIRECTS_MAX;
  const first = firstRequest(payload, endpoint);
  let request = first;
  for (let redirects = 0; ; redirects += 1) {
    const sent = key === undefined ? request : asksForWebSocket(request, key);
    const response = await ask(run, cookies.addedTo(sent), payload, endpoint);
    const target = redirectOf(payload, response);
    if (target === undefined) return judge(run, payload, sent, response);
    if (redirects === redirectsMax)
      throw tooMany(run.shortened(shown(endpoint), URL_LENGTH_MAX), redirectsMax, shownTarget(run, target));
    cookies.take(request.url, response.headers.get('set-cookie') ?? []);
    request = nextRequest(
      first,
      request,
      response.status,
      targetOf(run, request.url, target),
      run.context.secretHeaders,
    );
    run.log(`Redirected to ${shown(request.url)}.`);
  }
}

function tooMany(from: string, redirectsMax: number, target: string): CheckFailure {
  if (redirectsMax === 0) return new CheckFailure(`${from} redirected to ${target}. No redirect was expected.`);
  const times = redirectsMax === 1 ? 'once' : `${redirectsMax} times`;
  return new CheckFailure(`${from} redirected more than ${times}, at last to ${target}. The page was expected sooner.`);
}

function targetOf(run: Run, from: URL, location: HeaderBytes): URL {
  const reference = referenceOf(location);
  const target = readUrl(reference, from.href);
  if ((target?.protocol === 'http:' || target?.protocol === 'https:') && target.hostname !== '') return target;
  throw new CheckFailure(
    `${run.shortened(shown(from), URL_LENGTH_MAX)} redirected to ${shownTarget(run, location)}. A redirect to http or https was expected.`,
  );
}

async function ask(run: Run, request: Request, payload: HeartbeatPayload<never>, endpoint: URL): Promise<Response> {
  run.log(`${request.method} ${shown(request.url)}`);
  const answerOver = async (protocols: HttpProtocols) => {
    const socket = await reach(run, payload, request.url, endpoint, protocols);
    if (payload.http_version === 'HTTP_2') expectHttp2(socket, request);
    return exchange(run, socket, request, (head) => readerOf(run, head, payload));
  };
  const protocols = protocolsFor(payload, request);
  try {
    return await answerOver(protocols);
  } catch (error) {
    if (!(error instanceof Http1Wanted) || !protocols.includes('http/1.1')) throw error;
    run.log('The server wants HTTP/1.1 for this request.');
    return answerOver(['http/1.1']);
  }
}

/** What reads the body of a response. That of a redirect which is followed is not read. */
function readerOf(run: Run, head: Head, payload: HeartbeatPayload<never>): BodyReader | undefined {
  if (payload.headers_only === true || redirectOf(payload, head) !== undefined) return undefined;
  const wants = isExpected(payload, head.status) ? wantsOf(payload) : { beginning: true };
  return new BodyReader(run, head, wants);
}

const REDIRECTS = [301, 302, 303, 307, 308];

/** Where a response redirects to, if that is followed. */
function redirectOf(payload: HeartbeatPayload<never>, { status, headers }: Head): HeaderBytes | undefined {
  const isAnswer = payload.follow_redirects === false || isExpected(payload, status);
  if (isAnswer || !REDIRECTS.includes(status)) return undefined;
  return headers.get('location')?.[0] || undefined;
}
