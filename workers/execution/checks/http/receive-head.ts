import { KEPT_MAX, quoted } from '../quote.ts';
import { CheckFailure, type Run } from '../run.ts';
import { Closed, connectionFault } from './fault.ts';
import { END_BYTES_MAX, endOfHead, type Head, mayBeHead, parseHead, STATUS_LINE_LENGTH_MAX } from './head.ts';
import { beginningOf } from './header-text.ts';
import type { Receiver } from './receiver.ts';

/** As much as Chrome accepts. */
export const HEADERS_BYTES_MAX = 256 * 1024;
export const INFORMATIONAL_MAX = 16; // 1xx responses before the final one
const NOT_HTTP = 'an answer that is not HTTP';

/**
 * Reads the head of the final response from `receiver`, which goes on with the body. Rejects with a
 * CheckFailure that says what came instead.
 */
export async function receiveHead(run: Run, receiver: Receiver, what: string): Promise<Head> {
  let before = '';
  for (let informational = 0; informational <= INFORMATIONAL_MAX; informational += 1) {
    const head = await receiveOne(run, receiver, what, before);
    if (head.status >= 200 || head.status === 101) return head;
    before = ` after ${run.shortened(head.statusLine, STATUS_LINE_LENGTH_MAX)}`;
  }
  throw noResponse(what, `more than ${INFORMATIONAL_MAX} informational ones`);
}

export function noResponse(what: string, instead: string): CheckFailure {
  return new CheckFailure(`No response to ${what}: ${instead}. A response was expected.`);
}

/** `before` says which informational response came before it. */
async function receiveOne(run: Run, receiver: Receiver, what: string, before: string): Promise<Head> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  let kept = Buffer.alloc(0);
  let tail = Buffer.alloc(0);
  const beginning = () => `beginning ${quoted(run.context.mask, beginningOf(kept))}`;
  run.waitingFor = () =>
    bytes === 0
      ? `the first byte of the response to ${what}${before}`
      : `the rest of the headers of the response to ${what}; ${bytes} bytes had come, ${beginning()}`;

  for (;;) {
    const came = await receiver.next().catch((error) => {
      const why = connectionFault(run, error);
      throw noResponse(what, bytes === 0 ? `${why}${before}` : `${why} within the headers, ${beginning()}`);
    });
    if (came === undefined) {
      const why = connectionFault(run, new Closed());
      const nothing = before || ' before a byte came';
      throw noResponse(what, bytes === 0 ? `${why}${nothing}` : `${why} within the headers, ${beginning()}`);
    }

    const piece = pieces.length === 0 ? withoutLineBreaks(came) : came;
    bytes += came.length - piece.length;
    const end = endOfHead(Buffer.concat([tail, piece]).toString('latin1'));
    const read = end === undefined ? piece : piece.subarray(0, end - tail.length);
    bytes += read.length;
    if (read.length > 0) pieces.push(read);
    tail = Buffer.concat([tail, read]).subarray(-END_BYTES_MAX);
    if (kept.length < KEPT_MAX) {
      kept = Buffer.concat([kept, read.subarray(0, KEPT_MAX - kept.length)]);
      if (!mayBeHead(kept)) throw noResponse(what, `${NOT_HTTP}, ${beginning()}${protocolOf(kept)}`);
    }
    if (bytes > HEADERS_BYTES_MAX)
      throw noResponse(what, `headers of more than ${HEADERS_BYTES_MAX} bytes, ${beginning()}`);
    if (end === undefined) continue;

    receiver.unread(piece.subarray(read.length));
    const head = parseHead(Buffer.concat(pieces));
    if (head === undefined) throw noResponse(what, `${NOT_HTTP}, ${beginning()}`);
    return head;
  }
}

/** The protocol that an answer begins as, in words that follow it. */
function protocolOf(bytes: Buffer): string {
  if (SETTINGS_OF_HTTP2.test(bytes.toString('hex', 0, 9))) return ' (HTTP/2, which a check speaks over TLS only)';
  return ALERT_OF_TLS.test(bytes.toString('hex', 0, 5)) ? ' (TLS, for which the endpoint begins with https://)' : '';
}

/** A frame of the type 4, without flags, of the stream 0. */
const SETTINGS_OF_HTTP2 = /^[0-9a-f]{6}040000000000$/;
const ALERT_OF_TLS = /^1503[0-9a-f]{2}0002$/;

/** Some servers send blank lines before a response. */
function withoutLineBreaks(piece: Buffer): Buffer {
  const start = piece.findIndex((byte) => byte !== 0x0a && byte !== 0x0d);
  return start === -1 ? piece.subarray(piece.length) : piece.subarray(start);
}
