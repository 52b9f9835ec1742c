import type { HeartbeatPayload } from '../../../../domain/payload/payload.ts';
import { isInRanges } from '../../../../domain/payload/status-ranges.ts';
import { shown } from '../endpoint.ts';
import { CheckFailure, type Run } from '../run.ts';
import type { BodyReader, BodyWants } from './body.ts';
import type { Response } from './exchange.ts';
import { jsonProblem } from './judge-json.ts';
import { MATCHED_CHARACTERS_MAX, matches } from './matching.ts';
import type { Request } from './request.ts';
import { shownTarget, URL_LENGTH_MAX } from './target.ts';
import { upgradeProblem } from './websocket.ts';

type Payload = HeartbeatPayload<never>;

/** Whether `payload` counts `status` as success. */
export function isExpected(payload: Payload, status: number): boolean {
  const { expected_status: statuses, expected_status_ranges: ranges, websocket } = payload;
  if (websocket === true) return status === 101;
  if (statuses === undefined && ranges === undefined) return status >= 200 && status < 300;
  return statuses?.includes(status) === true || isInRanges(ranges ?? [], status);
}

/** What `payload` wants to know of the body of a response whose status is expected. */
export function wantsOf(payload: Payload): BodyWants {
  const whole = payload.body_matches !== undefined || payload.body_json !== undefined;
  return { contains: payload.body_contains, notContains: payload.body_not_contains, whole };
}

/** Rejects with a CheckFailure that says what is not as `payload` expects it. */
export async function judge(run: Run, payload: Payload, request: Request, response: Response): Promise<void> {
  const { method, url } = request;
  const { status, statusLine, headers, body } = response;
  const answered = `${method} ${run.shortened(shown(url), URL_LENGTH_MAX)} answered ${statusLine}`;
  if (!isExpected(payload, status)) {
    const [location] = headers.get('location') ?? [];
    const towards = location ? ` (to ${shownTarget(run, location)})` : '';
    throw new CheckFailure(
      `${answered}${towards}. ${expectedOf(payload)} was expected.${body === undefined ? '' : explanation(body)}`,
    );
  }
  const upgrade = payload.websocket === true && upgradeProblem(response, request.headers['sec-websocket-key'] ?? '');
  if (upgrade) throw new CheckFailure(`${answered} ${upgrade}. A WebSocket was expected.`);
  if (body === undefined) return;
  if (body.cut !== undefined) {
    throw new CheckFailure(
      `The body ended after ${body.bytes} bytes, before its end (${body.cut}). A whole one was expected.`,
    );
  }
  const problem = await bodyProblem(run, payload, body);
  if (problem !== undefined) throw new CheckFailure(`${answered} with a body (${described(body)}) that ${problem}`);
}

/** What is wrong with a body, in words that follow "with a body that". */
async function bodyProblem(run: Run, payload: Payload, body: BodyReader): Promise<string | undefined> {
  const { body_contains: contains, body_not_contains: notContains, body_matches: pattern, body_json: json } = payload;
  const beginning = body.undecodable === undefined ? `begins ${body.shown}` : `cannot be read: ${body.undecodable}`;
  const must = (wanted: string) => `${beginning}. One that ${wanted} was expected.`;
  if (contains && !body.has(contains)) return must(`contains ${JSON.stringify(contains)}`);
  if (notContains && body.undecodable !== undefined) return must(`does not contain ${JSON.stringify(notContains)}`);
  if (notContains && body.has(notContains))
    return `contains ${JSON.stringify(notContains)}. One without it was expected.`;
  if (pattern !== undefined) {
    const found = body.undecodable === undefined && (await matches(run, pattern, body.first(MATCHED_CHARACTERS_MAX)));
    if (found === undefined) return `the regular expression takes too long for. A simpler one was expected: ${pattern}`;
    if (!found) return must(`matches the regular expression ${JSON.stringify(pattern)}`);
  }
  return json === undefined ? undefined : jsonProblem(body, json, run.context.mask);
}

function expectedOf(payload: Payload): string {
  if (payload.websocket === true) return '101';
  const { expected_status: statuses = [], expected_status_ranges: ranges = [] } = payload;
  return [...statuses, ...ranges].join(' or ') || 'Any 2xx';
}

/** A server often explains an unexpected status in the body. */
function explanation(body: BodyReader): string {
  if (body.bytes === 0) return '';
  const how = body.undecodable === undefined ? `begins ${body.shown}` : `cannot be read: ${body.undecodable}`;
  return ` Its body (${described(body)}) ${how}.`;
}

function described(body: BodyReader): string {
  return [body.size, ...body.manner, ...(body.cut === undefined ? [] : [`then ${body.cut}`])].join(', ');
}
