import { continuesIn, sourceOf, streamOf } from '../../domain/logs/line-flags.ts';
import type { LineRange } from '../../domain/logs/text.ts';
import { lineCursors } from '../logs/cursor.ts';
import type { Slice } from '../logs/follower.ts';

/**
 * Writes lines of a log as NDJSON, one object a line: the fields of `LogLine` and the cursor after
 * the line. It builds the text directly, because a million lines take 1.1 s that way, and 5.4 s
 * through `parseLines` and `JSON.stringify` for each.
 */
export function ndjsonWriter(sourceId: string): (lines: Buffer, chunk: Slice['chunk'], range: LineRange) => Buffer {
  const cursorOf = lineCursors(sourceId);
  return (lines, { firstNumber, attempt }, { skip, end: endNumber = Number.POSITIVE_INFINITY, stream: wanted }) => {
    const text = lines.toString('utf8'); // a newline is never part of a replaced sequence
    const objects: string[] = [];
    for (let start = 0, nth = 0; start < text.length && nth < endNumber; nth += 1) {
      const newline = text.indexOf('\n', start);
      const end = newline === -1 ? text.length : newline;
      const flag = text.charCodeAt(start);
      const stream = streamOf(flag);
      if (nth >= skip && (wanted === undefined || wanted === stream)) {
        const space = text.indexOf(' ', start);
        const [timestamp, printed] = [text.slice(start + 1, space), text.slice(space + 1, end)];
        const number = firstNumber + nth;
        objects.push(
          `{"number":${number},"timestamp":"${timestamp}","stream":"${stream}","source":"${sourceOf(flag)}","text":${jsonText(printed)},"continues":${continuesIn(flag)},"attempt":${attempt},"cursor":"${cursorOf(number)}"}\n`,
        );
      }
      start = end + 1;
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
