import { isUtf8 } from 'node:buffer';
import type { LogLine, LogSource, LogStream } from './line.ts';
import { continuesIn, sourceOf, streamOf } from './line-flags.ts';

/* Reads the text of a chunk, whose form encode.ts describes. */

const NEWLINE = 0x0a;
const SPACE = 0x20;

/** The shortest line: a flag, a timestamp of at least 20 characters, a space and a newline. */
export const LINE_BYTES_MIN = 23;

/**
 * Visits the lines of a text one after the other. It makes no object per line, and only the texts
 * that a caller asks for.
 */
export class LineReader {
  /** The index of the line in the chunk, from 0. */
  index = -1;
  /** Where the line ends in the text: at its newline. */
  end = -1;
  #start = 0;
  #textStart = 0; // 0: not searched yet
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** Moves to the next line. Returns false when there is none. */
  next(): boolean {
    const start = this.end + 1;
    if (start >= this.#text.length) return false;
    const newline = this.#text.indexOf('\n', start);
    this.#start = start;
    this.#textStart = 0;
    this.end = newline === -1 ? this.#text.length : newline;
    this.index += 1;
    return true;
  }

  /** Moves to the line that holds this position of the text. */
  moveTo(position: number): void {
    while (this.end < position && this.next());
  }

  /** Where the printed text begins. Flag and timestamp stand before it. */
  get textStart(): number {
    if (this.#textStart === 0) this.#textStart = this.#text.indexOf(' ', this.#start) + 1;
    return this.#textStart;
  }

  get timestamp(): string {
    return this.#text.slice(this.#start + 1, this.textStart - 1);
  }

  get text(): string {
    return this.#text.slice(this.textStart, this.end);
  }

  get stream(): LogStream {
    return streamOf(this.#flag);
  }

  get source(): LogSource {
    return sourceOf(this.#flag);
  }

  get continues(): boolean {
    return continuesIn(this.#flag);
  }

  get #flag(): number {
    return this.#text.charCodeAt(this.#start);
  }

  /** The line as an object, in a chunk whose first line has the number `firstNumber`. */
  line(firstNumber: number, attempt: number): LogLine {
    const { textStart } = this;
    const flag = this.#flag;
    return {
      number: firstNumber + this.index,
      timestamp: this.#text.slice(this.#start + 1, textStart - 1),
      stream: streamOf(flag),
      source: sourceOf(flag),
      text: this.#text.slice(textStart, this.end),
      continues: continuesIn(flag),
      attempt,
    };
  }
}

/**
 * The lines of an unpacked chunk, or those of one stream. Bytes that are not UTF-8 become U+FFFD.
 */
export function parseLines(chunk: Buffer, firstNumber: number, attempt: number, stream?: LogStream | null): LogLine[] {
  const lines: LogLine[] = [];
  const reader = new LineReader(chunk.toString('utf8'));
  while (reader.next()) if (!stream || reader.stream === stream) lines.push(reader.line(firstNumber, attempt));
  return lines;
}

/**
 * Selects lines of a chunk: without the first `skip`, before the line of index `end` if it is
 * given, and of one stream if it is given.
 */
export interface LineRange {
  skip: number;
  end?: number;
  stream?: LogStream;
}

/**
 * The texts of lines of an unpacked chunk, each with its newline unless it continues. Most lines
 * reach a subscriber this way, without an object each.
 */
export function plainText(lines: Buffer, skip: number): string {
  return textBytes(lines, { skip }).toString('utf8');
}

/** The same as UTF-8. U+FFFD replaces bytes that are not UTF-8. */
export function plainTextUtf8(lines: Buffer, range: LineRange): Buffer {
  const text = textBytes(lines, range);
  return isUtf8(text) ? text : Buffer.from(text.toString('utf8'));
}

function textBytes(lines: Buffer, { skip, end: endIndex = Number.POSITIVE_INFINITY, stream }: LineRange): Buffer {
  const text = Buffer.allocUnsafe(lines.length + 1);
  let length = 0;
  let index = 0;
  for (let start = 0; start < lines.length && index < endIndex; index += 1) {
    const newline = lines.indexOf(NEWLINE, start);
    const end = newline === -1 ? lines.length : newline;
    const flag = lines[start];
    if (index >= skip && (stream === undefined || stream === streamOf(flag))) {
      length += lines.copy(text, length, lines.indexOf(SPACE, start) + 1, end);
      if (!continuesIn(flag)) length = text.writeUInt8(NEWLINE, length);
    }
    start = end + 1;
  }
  return text.subarray(0, length);
}
