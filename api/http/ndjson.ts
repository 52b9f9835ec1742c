import { type LineRange, LineReader } from '../../domain/logs/decode.ts';
import { lineCursors } from '../logs/cursor.ts';

/**
 * Writes lines of a log as NDJSON, one object a line: the fields of `LogLine` and the cursor after
 * the line. It builds the text directly, because a million lines take 1.1 s that way, and 5.4 s
 * through `parseLines` and `JSON.stringify` for each.
 */
export function ndjsonWriter(
  sourceId: string,
): (lines: Buffer, chunk: { firstNumber: number; attempt: number }, range: LineRange) => Buffer {
  const cursorOf = lineCursors(sourceId);
  return (lines, { firstNumber, attempt }, { skip, end = Number.POSITIVE_INFINITY, stream: wanted }) => {
    const objects: string[] = [];
    const reader = new LineReader(lines.toString('utf8'));
    while (reader.next() && reader.index < end) {
      const { stream } = reader;
      if (reader.index < skip || (wanted !== undefined && wanted !== stream)) continue;
      const number = firstNumber + reader.index;
      objects.push(
        `{"number":${number},"timestamp":"${reader.timestamp}","stream":"${stream}","source":"${reader.source}","text":${jsonText(reader.text)},"continues":${reader.continues},"attempt":${attempt},"cursor":"${cursorOf(number)}"}\n`,
      );
    }
    return Buffer.from(objects.join(''));
  };
}

/**
 * Escapes DEL and the C1 controls too. JSON leaves them as they are, and terminals obey the latter.
 */
function jsonText(text: string): string {
  return JSON.stringify(text).replace(C1_CONTROLS, (control) => `\\u00${control.charCodeAt(0).toString(16)}`);
}

const C1_CONTROLS = /[\x7f-\x9f]/g;
