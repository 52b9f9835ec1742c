import type { IncomingMessage, ServerResponse } from 'node:http';
import { GraphQLError } from 'graphql';
import { endByPing } from '../../db/pings/end.ts';
import { completeByPing, logByPing, startByPing } from '../../db/pings/ping.ts';
import { isId } from '../../domain/ids.ts';
import { PING_BODY_BYTES_MAX, PINGS_PER_TOKEN_PER_MINUTE, REQUEST_BYTES_MAX } from '../../domain/limits.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import { type Ping, type PingSays, pingLines, pingSays } from '../../domain/ping.ts';
import { isOutage } from '../../platform/postgres/outage.ts';
import { publishEffects } from '../../platform/publish.ts';
import { bodyBytes } from '../admission/admission.ts';
import type { RequestWork } from '../admission/request-work.ts';
import { isPingToken } from '../auth/ping-token.ts';
import { hashToken } from '../auth/tokens.ts';
import type { Services } from '../context.ts';

/** Whether a path is one of pings, which have their token in it. */
export function isPingPath(path: string): boolean {
  return path.startsWith('/ping/');
}

/**
 * /ping/TOKEN, and behind it /start, /fail, /log or an exit code: a ping of a push heartbeat. It
 * answers with a short text. The token is a secret: neither the path nor the token is ever logged.
 */
export async function servePing(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  { address, services, work }: { address: string; services: Services; work: RequestWork },
): Promise<void> {
  const { method = '' } = request;
  const answer = (status: number, text: string, headers: Record<string, string> = {}) => {
    // Reading the rest of a long body would cost as much as the ping.
    if (!request.complete && bodyBytes(request) > UNREAD_BYTES_MAX) response.setHeader('connection', 'close');
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', ...headers }).end(`${text}\n`);
  };
  const wait = (seconds: number, text: string) => answer(429, text, { 'retry-after': String(Math.ceil(seconds)) });

  if (!METHODS.includes(method)) return answer(405, `A ping is a GET, HEAD or POST.`, { allow: METHODS.join(', ') });
  const [, token, said] = /^\/ping\/([^/]+)(?:\/([^/]*))?$/.exec(path) ?? [];
  const says = pingSays(said);
  if (token === undefined || says === undefined) return answer(404, PATHS);
  const rids = ridsOf(request);
  const [rid] = rids;
  if (rids.length > 1 || (rid !== undefined && !isId(rid))) return answer(400, RID_FORM);

  const { admission, cache, db, log, pingTokens } = services;
  const key = addressKey(address);
  const unknown = () => {
    const seconds = admission.waitOfStranger(key);
    if (seconds > 0) return wait(seconds, 'Too many pings of this address have unknown tokens.');
    admission.countStranger(key);
    return answer(404, 'No workflow has this ping URL.');
  };
  if (!isPingToken(token)) return unknown();
  const tokenHash = hashToken(token);
  try {
    // Others may share the address, so a token that a workflow has always gets through. In a flood
    // of unknown ones, one read for many of them is all that they cost.
    if (admission.waitOfStranger(key) > 0 && !(await pingTokens.isKnown(token))) return unknown();
    const seconds = await cache.limit(`pings:${tokenHash.toString('hex')}`, PINGS_PER_TOKEN_PER_MINUTE, 60);
    if (seconds > 0) return wait(seconds, `At most ${PINGS_PER_TOKEN_PER_MINUTE} pings a minute are taken.`);
    const isPost = method === 'POST';
    const body = isPost ? await readBody(request, { address, services, work }) : NO_BODY;
    if (body === undefined) return; // the client has left
    const lines = pingLines(body.bytes, { isCut: body.isCut, now: new Date() });
    const pinged = await ping({ db }, says, { tokenHash, isPost, rid: rid?.toLowerCase(), lines });
    switch (pinged.outcome) {
      case 'DONE':
        // The caller does not wait for the broker.
        if (pinged.effects) void publishEffects(services, pinged.effects);
        return answer(200, 'OK');
      case 'FULL':
        return answer(413, 'The log of the next ping has no room for this.');
      case 'POST_ONLY':
        return answer(405, 'This workflow takes pings by POST alone.', { allow: 'POST' });
      case 'GONE':
        return answer(410, 'The workflow of this ping URL is terminated, and takes no pings any more.');
      case 'UNKNOWN':
        return unknown();
    }
  } catch (error) {
    if (error instanceof GraphQLError) return wait(1, error.message);
    if (!isOutage(error)) throw error;
    log.warn({ err: error }, 'A ping failed, because the database cannot be reached.');
    return answer(503, 'The database cannot be reached right now: try again soon.', { 'retry-after': '5' });
  }
}

const METHODS = ['GET', 'HEAD', 'POST'];
const PATHS =
  'A ping goes to /ping/TOKEN, or behind that to /start, /fail, /log or an exit code from 0 to 255, like /ping/TOKEN/1.';
const RID_FORM = 'rid must be given once, and be a UUID, like "8ea97b1a-0b6c-4a0f-9d5e-2f3c1b7a9d10".';
const UNREAD_BYTES_MAX = 64 * 1024;
const NO_BODY = { bytes: Buffer.alloc(0), isCut: false };

function ridsOf({ url = '' }: IncomingMessage): string[] {
  return new URLSearchParams(url.split('?').slice(1).join('?')).getAll('rid');
}

async function ping({ db }: Pick<Services, 'db'>, says: PingSays, given: Ping) {
  if (says === 'START') return startByPing(db, given);
  if (says === 'LOG') return { ...(await logByPing(db, given)), effects: undefined };
  if (says === 'SUCCESS') return completeByPing(db, given);
  if (says === 'FAIL') {
    const failureMessage = 'A ping said that it failed.';
    return endByPing(db, given, { status: 'FAILED', failureReason: 'CHECK_FAILED', failureMessage });
  }
  const { exitCode } = says;
  if (exitCode === 0) return completeByPing(db, given, exitCode);
  const failureMessage = `A ping said that it ended with the exit code ${exitCode}.`;
  return endByPing(db, given, { status: 'FAILED', exitCode, failureReason: 'EXIT_CODE', failureMessage });
}

/**
 * The first PING_BODY_BYTES_MAX bytes of the body. What follows is read up to REQUEST_BYTES_MAX and
 * dropped, so that the client can read the answer. Undefined if the client has left.
 */
async function readBody(
  request: IncomingMessage,
  { address, services: { admission }, work }: { address: string; services: Services; work: RequestWork },
): Promise<{ bytes: Buffer; isCut: boolean } | undefined> {
  const bytes = Math.min(bodyBytes(request), PING_BODY_BYTES_MAX);
  work.takes(admission.hold({ key: addressKey(address), isAnonymous: true }, bytes));
  const pieces: Buffer[] = [];
  let length = 0;
  try {
    for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (length < PING_BODY_BYTES_MAX) pieces.push(piece.subarray(0, PING_BODY_BYTES_MAX - length));
      length += piece.length;
      if (length > REQUEST_BYTES_MAX) break;
    }
  } catch (error) {
    if (work.isAbandoned || request.destroyed) return undefined;
    throw error;
  }
  return { bytes: Buffer.concat(pieces), isCut: length > PING_BODY_BYTES_MAX };
}
