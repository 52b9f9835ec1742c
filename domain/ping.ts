import type { Effects } from './effects.ts';
import { LINE_BYTES_MAX, PING_BODY_BYTES_MAX, PING_LOG_BYTES_MAX } from './limits.ts';
import { formatLine } from './logs/encode.ts';

/** A ping of a push heartbeat. */
export interface Ping {
  /** The SHA-256 of the token. */
  tokenHash: Buffer;
  isPost: boolean;
  /** Names the run, where several may overlap. */
  rid: string | undefined;
  lines: PingLines;
}

/** Lines in the form of a chunk, not packed. */
export interface PingLines {
  text: Buffer;
  count: number;
}

/** UNKNOWN: no workflow has the token. GONE: its workflow takes no pings any more. */
export type PingRefused = { outcome: 'UNKNOWN' | 'POST_ONLY' | 'GONE' };
export type Pinged = { outcome: 'DONE'; effects: Effects } | PingRefused;

/** What a ping says: that a run has started or ended, or a text for the log. */
export type PingSays = 'SUCCESS' | 'START' | 'FAIL' | 'LOG' | { exitCode: number };

/**
 * Reads what follows the token in the path of a ping: nothing, "start", "fail", "log", or an exit
 * code. Undefined for anything else.
 */
export function pingSays(text: string | undefined): PingSays | undefined {
  if (text === undefined) return 'SUCCESS';
  if (text === 'start') return 'START';
  if (text === 'fail') return 'FAIL';
  if (text === 'log') return 'LOG';
  const exitCode = /^(0|[1-9]\d{0,2})$/.test(text) ? Number(text) : EXIT_CODE_MAX + 1;
  return exitCode <= EXIT_CODE_MAX ? { exitCode } : undefined;
}

const EXIT_CODE_MAX = 255;

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * The body of a ping as lines of a log: at most PING_LOG_BYTES_MAX, with a last line that says so
 * if something was cut.
 */
export function pingLines(body: Buffer, { isCut, now }: { isCut: boolean; now: Date }): PingLines {
  const timestamp = now.toISOString();
  const lines: Buffer[] = [];
  let bytes = 0;
  let hasRoom = true;
  for (let start = 0; start < body.length && hasRoom; ) {
    const newline = body.indexOf(NEWLINE, start);
    const end = newline === -1 ? body.length : newline;
    const text = body.subarray(start, end > start && body[end - 1] === CARRIAGE_RETURN ? end - 1 : end);
    for (const line of pieces(text, timestamp)) {
      hasRoom &&= bytes + line.length <= PING_LOG_BYTES_MAX - NOTE_BYTES_MAX;
      if (!hasRoom) break;
      lines.push(line);
      bytes += line.length;
    }
    start = end + 1;
  }
  if (isCut || !hasRoom) {
    const limit = isCut
      ? `${PING_BODY_BYTES_MAX.toLocaleString('en')} bytes of the body of a ping are read`
      : `${PING_LOG_BYTES_MAX.toLocaleString('en')} bytes of lines of a ping are kept, with the time of each`;
    lines.push(Buffer.from(formatLine('STDERR', timestamp, `At most ${limit}: it is cut here.`, { source: 'SYSTEM' })));
  }
  return { text: Buffer.concat(lines), count: lines.length };
}

const NOTE_BYTES_MAX = 256;

/** A long line as pieces that continue. */
function* pieces(text: Buffer, timestamp: string): Generator<Buffer> {
  let start = 0;
  for (;;) {
    let end = Math.min(start + LINE_BYTES_MAX, text.length);
    // No piece ends within a character.
    while (end < text.length && end > start + 1 && isWithinCharacter(text[end])) end -= 1;
    const continues = end < text.length;
    yield Buffer.from(formatLine('STDOUT', timestamp, text.toString('utf8', start, end), { continues }));
    if (!continues) return;
    start = end;
  }
}

function isWithinCharacter(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
