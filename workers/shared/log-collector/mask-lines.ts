import { completeFlag, continuesIn } from '../../../domain/logs/line-flags.ts';
import type { Begun, Mask } from '../../../domain/masking/mask.ts';
import type { ChunkWriter } from './chunk-writer.ts';
import type { OnLine } from './lines.ts';

const SPACE = 0x20;

/**
 * Writes lines with `***` in the place of secrets. Lines are cut before they are masked, so that the same log gives the same lines the
 * same numbers. A secret that is cut by the end of a piece of a long line is found too; up to 3 of its first bytes may stay visible.
 */
export function maskLines(
  writer: Pick<ChunkWriter, 'onLine' | 'room'>,
  mask: Mask | undefined,
): Pick<ChunkWriter, 'onLine' | 'room'> {
  if (mask === undefined) return writer;
  const begun = new Map<number, Begun | undefined>(); // by stream

  const onLine: OnLine = (flag, bytes, start, end) => {
    const textStart = bytes.indexOf(SPACE, start) + 1;
    const stream = completeFlag(flag);
    const goesOn = continuesIn(flag);
    const text = bytes.toString('latin1', textStart, end - 1);
    const found = mask.piece(text, begun.get(stream), goesOn);
    begun.set(stream, found.begun);
    if (found.masked === undefined) return writer.onLine(flag, bytes, start, end);
    const head = bytes.toString('latin1', start, textStart);
    const line = Buffer.from(`${head}${found.masked}\n`, 'latin1');
    writer.onLine(flag, line, 0, line.length);
  };
  return { onLine, room: writer.room };
}
