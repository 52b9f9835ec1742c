import { latin1TextAt, type OnLine, withLatin1Text } from '../../../domain/logs/encode.ts';
import { completeFlag, continuesIn } from '../../../domain/logs/line-flags.ts';
import type { Begun, Mask } from '../../../domain/masking/mask.ts';
import type { ChunkWriter } from './chunk-writer.ts';

/**
 * Writes lines with `***` in place of secrets. It masks lines after they are cut, so that the same
 * log gives the same lines the same numbers. It also finds a secret that the end of a piece of a
 * long line cuts. Up to 3 of the secret's first bytes may stay visible.
 */
export function maskLines(
  writer: Pick<ChunkWriter, 'onLine' | 'room'>,
  mask: Mask | undefined,
): Pick<ChunkWriter, 'onLine' | 'room'> {
  if (mask === undefined) return writer;
  const begun = new Map<number, Begun | undefined>(); // by stream

  const onLine: OnLine = (flag, bytes, start, end) => {
    const stream = completeFlag(flag);
    const found = mask.piece(latin1TextAt(bytes, start, end), begun.get(stream), continuesIn(flag));
    begun.set(stream, found.begun);
    if (found.masked === undefined) return writer.onLine(flag, bytes, start, end);
    const line = withLatin1Text(bytes, start, found.masked);
    writer.onLine(flag, line, 0, line.length);
  };
  return { onLine, room: writer.room };
}
