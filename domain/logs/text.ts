import { isUtf8 } from 'node:buffer';
import type { LogLine } from './chunk.ts';
import { continuesIn, streamOf } from './line-flags.ts';

const NEWLINE = 0x0a;
const SPACE = 0x20;

/** Which lines of an unpacked chunk: of one stream where that is given, without the first `skip`, to the `end`-th, unless that is behind the last. */
export interface LineRange {
  skip: number;
  end?: number;
  stream?: LogLine['stream'];
}

/**
 * The texts of lines of an unpacked chunk, each with its newline unless it continues. No object is made a line: this is the way that most
 * lines take to a subscriber.
 */
export function plainText(lines: Buffer, skip: number): string {
  return textBytes(lines, { skip }).toString('utf8');
}

/** The same as UTF-8: bytes that are not are replaced by those of U+FFFD. */
export function plainTextUtf8(lines: Buffer, range: LineRange): Buffer {
  const text = textBytes(lines, range);
  return isUtf8(text) ? text : Buffer.from(text.toString('utf8'));
}

function textBytes(lines: Buffer, { skip, end: endNumber = Number.POSITIVE_INFINITY, stream }: LineRange): Buffer {
  const text = Buffer.allocUnsafe(lines.length + 1);
  let length = 0;
  let number = 0;
  for (let start = 0; start < lines.length && number < endNumber; number += 1) {
    const newline = lines.indexOf(NEWLINE, start);
    const end = newline === -1 ? lines.length : newline;
    const flag = lines[start];
    if (number >= skip && (stream === undefined || stream === streamOf(flag))) {
      length += lines.copy(text, length, lines.indexOf(SPACE, start) + 1, end);
      if (!continuesIn(flag)) length = text.writeUInt8(NEWLINE, length);
    }
    start = end + 1;
  }
  return text.subarray(0, length);
}
