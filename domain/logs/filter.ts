import { LineReader, parseLines } from './decode.ts';
import type { LogLine, LogStream } from './line.ts';
import { partFinder } from './text-search.ts';

/** Which lines of a log a reader asks for. All conditions must hold. */
export interface LogFilter {
  stream?: LogStream | null | undefined;
  /** A part of the text. Case makes no difference. */
  search?: string | null | undefined;
}

/** Selects the lines of an unpacked chunk that match. */
export type SelectLines = (text: Buffer, firstNumber: number, attempt: number) => LogLine[];

/**
 * A search looks through the text of a whole chunk and makes objects only of the lines that
 * match: 45 to 290 MB a second on a busy machine, depending on the text.
 *
 * Upper and lower case are equal by Unicode's simple case folding, which compares one character
 * with one: "STRASSE" does not find "straße". Nothing is normalized. A line that was cut into
 * pieces is searched piece by piece.
 */
export function lineSelector({ stream, search }: LogFilter): SelectLines {
  if (typeof search !== 'string')
    return (chunk, firstNumber, attempt) => parseLines(chunk, firstNumber, attempt, stream);
  const finderIn = partFinder(search);
  return (chunk, firstNumber, attempt) => {
    const text = chunk.toString('utf8');
    const find = finderIn(text);
    const reader = new LineReader(text);
    const lines: LogLine[] = [];
    for (let hit = find(0); hit !== -1; ) {
      reader.moveTo(hit);
      const { textStart } = reader;
      if (hit < textStart) {
        hit = find(textStart); // it was found in the timestamp
        continue;
      }
      if (!stream || reader.stream === stream) lines.push(reader.line(firstNumber, attempt));
      hit = find(reader.end);
    }
    return lines;
  };
}
