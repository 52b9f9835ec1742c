import { CHUNK_BYTES_MAX } from '../limits.ts';
import type { LogSource, LogStream } from './line.ts';
import { flagOf } from './line-flags.ts';

/*
 * Writes the text of a chunk. Each line is its flag (line-flags.ts), the engine's RFC 3339
 * timestamp, a space, the bytes as they were printed, and a newline. A frame of the engine's log
 * has this form already, less the flag, so that collecting a line copies it once and makes no
 * object.
 */

const NEWLINE = 0x0a;
const SPACE = 0x20;

/**
 * Takes a line without its flag. From `start` to `end`, `bytes` hold timestamp, space, text and
 * newline.
 */
export type OnLine = (flag: number, bytes: Buffer, start: number, end: number) => void;

export interface LineOptions {
  continues?: boolean;
  source?: LogSource;
}

/** One line as it stands in a chunk. A newline in `text` would begin another line. */
export function formatLine(
  stream: LogStream,
  timestamp: string,
  text: string,
  { continues = false, source = 'PROGRAM' }: LineOptions = {},
): string {
  return `${String.fromCharCode(flagOf(stream, source, continues))}${timestamp} ${text}\n`;
}

/** Gives `onLine` a line with this text, in which newlines become spaces. */
export function writeLine(
  onLine: OnLine,
  stream: LogStream,
  timestamp: string,
  text: string,
  { continues = false, source = 'PROGRAM' }: LineOptions = {},
): void {
  const bytes = Buffer.from(`${timestamp} ${text.replaceAll('\n', ' ')}\n`);
  onLine(flagOf(stream, source, continues), bytes, 0, bytes.length);
}

/** The timestamp of the line that begins at `start`. */
export function timestampAt(bytes: Buffer, start: number): string {
  return bytes.toString('latin1', start, bytes.indexOf(SPACE, start));
}

/** The text of such a line, one character per byte. */
export function latin1TextAt(bytes: Buffer, start: number, end: number): string {
  return bytes.toString('latin1', bytes.indexOf(SPACE, start) + 1, end - 1);
}

/** The line with another text, in which each character is a byte. */
export function withLatin1Text(bytes: Buffer, start: number, text: string): Buffer {
  return Buffer.from(`${timestampAt(bytes, start)} ${text}\n`, 'latin1');
}

/** Small, because most jobs print little. */
const FIRST_BYTES = 4 * 1024;

/**
 * The lines of one chunk that is being filled: at most CHUNK_BYTES_MAX bytes, unless one line alone
 * is longer.
 */
export class LineBuffer {
  #bytes = Buffer.allocUnsafe(FIRST_BYTES);
  length = 0;

  /** Whether a line of this length, with its flag, still fits into the chunk. */
  fits(lineBytes: number): boolean {
    return this.length === 0 || this.length + lineBytes <= CHUNK_BYTES_MAX;
  }

  /** Copies a line. */
  add(flag: number, bytes: Buffer, start: number, end: number): void {
    const needed = 1 + end - start;
    if (this.length + needed > this.#bytes.length) this.#grow(needed);
    this.#bytes[this.length] = flag;
    bytes.copy(this.#bytes, this.length + 1, start, end);
    this.length += needed;
  }

  #grow(needed: number): void {
    const doubled = 2 * Math.max(this.#bytes.length, needed);
    const larger = Buffer.allocUnsafe(Math.max(this.length + needed, Math.min(CHUNK_BYTES_MAX, doubled)));
    this.#bytes.copy(larger, 0, 0, this.length);
    this.#bytes = larger;
  }

  /** Returns the lines and empties the buffer. */
  take(): Buffer {
    const text = this.#bytes.subarray(0, this.length);
    this.#bytes = Buffer.allocUnsafe(this.length < FIRST_BYTES ? FIRST_BYTES : this.#bytes.length);
    this.length = 0;
    return text;
  }

  /** The beginning of the last line. */
  lastLine(bytesMax: number): Buffer {
    const text = this.#bytes.subarray(0, this.length);
    return lastLineOf(text, bytesMax);
  }
}

/** The beginning of the last line of a chunk's text, with its flag. */
export function lastLineOf(text: Buffer, bytesMax: number): Buffer {
  const from = text.lastIndexOf(NEWLINE, -2) + 1;
  return text.subarray(from, Math.min(text.length, from + bytesMax));
}

/** The printed text of such a line. */
export function printedText(line: Buffer): string {
  return line.toString('utf8', line.indexOf(SPACE) + 1).trimEnd();
}
