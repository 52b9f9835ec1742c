import { setMaxListeners } from 'node:events';
import { createMask, type Mask } from '../../domain/masking/mask.ts';
import type { NetworkPolicy } from '../../domain/network/networks.ts';
import { readUrl } from '../../domain/network/read-url.ts';
import { connect } from '../execution/checks/connect.ts';
import { hostOf, withoutDot } from '../execution/checks/endpoint.ts';
import { faultOf } from '../execution/checks/http/fault.ts';
import { framedBody, framingOf } from '../execution/checks/http/framing.ts';
import type { Head } from '../execution/checks/http/head.ts';
import { textOf } from '../execution/checks/http/header-text.ts';
import { noResponse, receiveHead } from '../execution/checks/http/receive-head.ts';
import { Receiver } from '../execution/checks/http/receiver.ts';
import { requestBytes } from '../execution/checks/http/request.ts';
import { CheckFailure, Run } from '../execution/checks/run.ts';
import { secure } from '../execution/checks/tls.ts';
import type { Trust } from '../execution/checks/trust.ts';
import type { Connectivity } from '../execution/network/connectivity.ts';
import { createNames, type Names } from '../shared/dns/names.ts';
import { shortLine, TEXT_LENGTH_MAX } from './short-line.ts';

/** The whole of an attempt: name, connection, handshake, request and answer. */
export const ATTEMPT_SECONDS_MAX = 15;
/** Of an answer, with its head. More may be there; it is not read, and that is no failure. */
export const ANSWER_BYTES_MAX = 64 * 1024;

export interface HttpContext {
  /** ALERT_ALLOW. */
  allow: NetworkPolicy;
  /** Ends the request at once. */
  signal: AbortSignal;
  /** What must not be in any text: tokens and secrets. The URL needs no mention. */
  secrets?: readonly string[];
  /** Resolves names. Default: the system's way. */
  names?: Names | undefined;
  /** The authorities for https. Default: the well-known ones and NODE_EXTRA_CA_CERTS. */
  trust?: Trust | undefined;
  timeoutSeconds?: number | undefined;
}

export interface HttpRequest {
  method?: 'POST' | 'PUT';
  /** By names in lower case, in ASCII. */
  headers: Record<string, string>;
  body: string;
}

export interface HttpAnswer {
  status: number;
  /**
   * The beginning of the body: one masked line, at most 500 characters. Empty if it is no text, and
   * with a success.
   */
  text: string;
  /** What `Retry-After` says, from now on. */
  retryAfterSeconds: number | undefined;
}

/** Why there is no answer, a sentence that shows no more of the URL than its host. */
export class NoAnswer extends Error {}

/**
 * One request over HTTP/1.1, whose socket opens to the very address that was judged. It follows no
 * redirect. Rejects with a NoAnswer if no answer comes, and leaves no socket open.
 */
export async function postTo(url: string, request: HttpRequest, context: HttpContext): Promise<HttpAnswer> {
  const target = readUrl(url);
  if (target === undefined || !/^https?:$/.test(target.protocol))
    throw new NoAnswer('The URL of the channel is none of http or https: give it again.');
  const run = new AlertRun(contextOf(target, context), system);
  try {
    return await Promise.race([ask(run, target, request), ending(run, context.timeoutSeconds ?? ATTEMPT_SECONDS_MAX)]);
  } catch (error) {
    const said = error instanceof CheckFailure ? error.message : `The request failed: ${faultOf(error)}.`;
    throw new NoAnswer(shortLine(run.context.mask, said));
  } finally {
    run.end();
  }
}

const systemNames = createNames();
/** Heartbeats ask whether this machine's network works: an alert is sent again anyway. */
const connectivity: Connectivity = {
  begin: () => ({ reached() {}, answered() {}, failed() {}, withdraw() {} }),
  fault: async () => undefined,
  report() {},
};
const system = { names: systemNames, connectivity };

/** Keeps no lines: each would be masked, and nobody reads them. */
class AlertRun extends Run {
  override log(): void {}
}

function contextOf(target: URL, { allow, signal, secrets = [], names, trust }: HttpContext) {
  const isPlain = target.protocol === 'http:';
  return {
    // A name may change its address: what a URL over http says must not cross public networks.
    allow: isPlain ? { ...allow, words: new Set([...allow.words].filter((word) => word !== 'public')) } : allow,
    unreachable: isPlain ? UNREACHABLE_BY_HTTP : UNREACHABLE,
    signal,
    mask: lazyMask(() => [...secretsOf(target), ...secrets]),
    ...(names && { names }),
    ...(trust && { trust }),
  };
}

const UNREACHABLE = "is in no network that alerts may reach here; the operator's setting ALERT_ALLOW names those.";
const UNREACHABLE_BY_HTTP =
  "is in no network that alerts may reach here over http; the operator's setting ALERT_ALLOW names those, and a public host needs https.";

/** The parts of a URL that let others send. */
function secretsOf({ href, pathname, search }: URL): string[] {
  const parts = `${pathname}/${search.slice(1)}`.split(/[/&=]/).flatMap((part) => [part, decoded(part)]);
  return [href, `${pathname}${search}`, ...parts.filter(isTelling)].filter((text) => text.length >= SECRET_LENGTH_MIN);
}

/** A short word such as "webhooks" is no secret, and answers speak of it. */
function isTelling(part: string): boolean {
  return part.length >= 12 || (part.length >= 6 && /\d/.test(part));
}

const SECRET_LENGTH_MIN = 4;

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // not an encoding
  }
}

/** Most requests go well, and need no mask. */
function lazyMask(secrets: () => readonly string[]): Pick<Mask, 'text' | 'cutText'> & Mask {
  let made: Mask | undefined;
  const mask = (): Mask | undefined => {
    made ??= createMask(secrets());
    return made;
  };
  return {
    size: 0,
    text: (text) => mask()?.text(text) ?? text,
    cutText: (text) => mask()?.cutText(text) ?? text,
    piece: (...given) => mask()?.piece(...given) ?? { masked: undefined, begun: undefined },
  };
}

async function ask(run: Run, url: URL, { method = 'POST', headers, body }: HttpRequest): Promise<HttpAnswer> {
  const isSecure = url.protocol === 'https:';
  const host = hostOf(url);
  const connection = await connect(run, host, Number(url.port || (isSecure ? 443 : 80)));
  const socket = isSecure ? await secure(run, connection, withoutDot(host)) : connection.socket;
  const receiver = new BoundedReceiver(socket);
  socket.write(
    requestBytes({
      url,
      method,
      headers: {
        host: url.host,
        'user-agent': 'chronoverse-alerts',
        accept: '*/*',
        'accept-encoding': 'identity',
        ...headers,
        'content-length': String(Buffer.byteLength(body)),
      },
      body,
    }),
  );
  const what = `${method} ${url.host}`;
  const head = await receiveHead(run, receiver, what);
  // What comes behind a success is of no interest, and may never end.
  if (head.status >= 200 && head.status < 300) return { status: head.status, text: '', retryAfterSeconds: undefined };
  const framing = framingOf(head, method);
  if (typeof framing === 'string') throw noResponse(what, framing);
  run.waitingFor = `the rest of the answer (${head.status}) to ${what}`;
  receiver.endsAtBound = true;
  const received = await bytesOf(framedBody(receiver, framing));
  return {
    status: head.status,
    text: shortLine(run.context.mask, isText(head) ? received.toString('utf8') : ''),
    retryAfterSeconds: retryAfter(head),
  };
}

/**
 * Takes no further piece from the socket once the bound has come. A longer head is a fault; a
 * longer body just ends.
 */
class BoundedReceiver extends Receiver {
  endsAtBound = false;
  private hasRest = false;

  override async next(): Promise<Buffer | undefined> {
    const hadRest = this.hasRest;
    this.hasRest = false;
    if (hadRest || this.bytes < ANSWER_BYTES_MAX) return super.next();
    if (this.endsAtBound) return undefined;
    throw new Error(`more than ${ANSWER_BYTES_MAX} bytes came`);
  }

  override unread(piece: Buffer): void {
    super.unread(piece);
    this.hasRest = piece.length > 0;
  }
}

/** What comes before the bound, or before the other side cuts the connection. */
async function bytesOf(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  try {
    for await (const piece of body) {
      if (length < KEPT_BYTES_MAX) pieces.push(piece);
      length += piece.length;
    }
  } catch {
    // The answer has come, and its text is only for people.
  }
  return Buffer.concat(pieces).subarray(0, KEPT_BYTES_MAX);
}

/** Masks before it cuts, so more is kept than is shown. */
const KEPT_BYTES_MAX = 8 * TEXT_LENGTH_MAX;

/** A body that is compressed although nobody asked for that is not shown. */
function isText({ headers }: Head): boolean {
  const [encoding = 'identity'] = headers.get('content-encoding') ?? [];
  return encoding.toLowerCase() === 'identity';
}

/** Seconds, or an HTTP date (RFC 9110, section 10.2.3). */
function retryAfter({ headers }: Head): number | undefined {
  const text = textOf(headers.get('retry-after')?.[0] ?? '').trim();
  if (/^\d{1,9}(\.\d+)?$/.test(text)) return Math.ceil(Number(text)); // Discord sends fractions
  const at = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - Date.now()) / 1_000));
}

/** Rejects when the time is up or the caller aborts. */
function ending(run: Run, seconds: number): Promise<never> {
  const { signal } = run.context;
  setMaxListeners(0, signal); // Node warns about an eleventh request under one signal
  return new Promise((_, reject) => {
    const stop = () => reject(new CheckFailure('The attempt was stopped before it ended.'));
    const timer = setTimeout(() => {
      const what = typeof run.waitingFor === 'string' ? run.waitingFor : run.waitingFor();
      reject(new CheckFailure(`Timed out after ${seconds} s waiting for ${what}.`));
    }, seconds * 1_000);
    run.atEnd(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    });
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop);
  });
}
