import { Chunks } from './chunks.ts';
import { Closed } from './fault.ts';
import { type Head, listOf } from './head.ts';
import type { Receiver } from './receiver.ts';

/** How the end of a body shows. */
export type Framing =
  | { by: 'nothing' } // there is no body
  | { by: 'length'; bytes: number }
  | { by: 'chunks' }
  | { by: 'close' };

/**
 * How the body of a response to `method` is framed. Chunks outrank a length, and equal lengths are
 * one (RFC 9112). As in browsers, a length that is no number is none. A text says why it is
 * unclear.
 */
export function framingOf(head: Head, method: string): Framing | string {
  const { status } = head;
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return { by: 'nothing' };
  if (listOf(head, 'transfer-encoding').includes('chunked')) return { by: 'chunks' };
  const lengths = [...new Set(listOf(head, 'content-length').filter((length) => /^\d+$/.test(length)))];
  const [bytes] = new Set(lengths.map(Number));
  if (bytes === undefined) return { by: 'close' };
  if (lengths.some((length) => Number(length) !== bytes))
    return `a response whose Content-Length is ${lengths.slice(0, 2).join(' and ')} at once`;
  return { by: 'length', bytes };
}

/** The bytes of a body without its framing. Rejects when it ends before its end. */
export async function* framedBody(receiver: Receiver, framing: Framing): AsyncGenerator<Buffer> {
  if (framing.by === 'nothing') return;
  const chunks = framing.by === 'chunks' ? new Chunks() : undefined;
  let left = framing.by === 'length' ? framing.bytes : Number.POSITIVE_INFINITY;
  while (left > 0 && chunks?.isEnded !== true) {
    const piece = await receiver.next();
    if (piece === undefined && framing.by === 'close') return;
    if (piece === undefined) throw new Closed();
    const bytes = chunks === undefined ? piece.subarray(0, left) : chunks.take(piece);
    left -= bytes.length;
    if (bytes.length > 0) yield bytes;
    if (chunks?.fault !== undefined) throw new Error(chunks.fault);
  }
}
