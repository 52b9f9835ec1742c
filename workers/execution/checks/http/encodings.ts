import { pipeline, type Transform } from 'node:stream';
import zlib from 'node:zlib';
import { FairPlaces } from '../../../../platform/async/fair-places.ts';
import type { Run } from '../run.ts';
import { faultOf } from './fault.ts';
import { gunzipped } from './gunzip.ts';
import { type Head, listOf } from './head.ts';

/** As many as curl undoes. */
const ENCODINGS_MAX = 5;

/** What a request asks for: what a visitor's browser asks for, as far as Node 20 can undo it. */
export const ACCEPTED_ENCODINGS = 'gzip, deflate, br';

type Decoder = 'gzip' | 'deflate' | 'br';
const DECODERS = new Map<string, Decoder>([
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['deflate', 'deflate'],
  ['br', 'br'],
]);
/** A brotli decoder takes up to 16 MiB before its first byte: 256 MiB in all. */
const BROTLI_DECODERS_MAX = 16;
const BROTLI_DECODERS_PER_USER_MAX = 12;
const brotliDecoders = new FairPlaces({ places: BROTLI_DECODERS_MAX, perKey: BROTLI_DECODERS_PER_USER_MAX });
/** Nothing but these changes the bytes. Browsers, too, ignore a name that nobody knows. */
const NOT_DECODED = ['zstd', 'compress', 'x-compress', 'dcb', 'dcz'];

/** The encodings of a body, in the order in which they were applied. */
export function encodingsOf(head: Head): string[] {
  return [...listOf(head, 'content-encoding'), ...listOf(head, 'transfer-encoding')].filter(
    (name) => DECODERS.has(name) || NOT_DECODED.includes(name),
  );
}

/** Why this check cannot undo `encodings`, or undefined. */
export function undecodable(encodings: readonly string[]): string | undefined {
  if (encodings.length > ENCODINGS_MAX) return `it is encoded more than ${ENCODINGS_MAX} times`;
  const unknown = encodings.find((name) => !DECODERS.has(name));
  return unknown === undefined ? undefined : `no check can decode ${unknown}`;
}

/** Why a body is not what its encoding says. */
export class Undecodable extends Error {}

/**
 * Undoes `encodings`. Each of them yields at most `bytesMax`, so that a bomb within a bomb costs no
 * more than a page. An end that is missing is tolerated, as browsers do.
 */
export async function* decodedBody(
  run: Run,
  body: AsyncIterable<Buffer>,
  encodings: readonly string[],
  bytesMax: number,
): AsyncGenerator<Buffer> {
  const brotlis = encodings.filter((name) => DECODERS.get(name) === 'br').length;
  const release =
    brotlis === 0 ? undefined : await run.takePlaces(brotliDecoders, brotlis, 'a turn to decode a body in brotli');
  try {
    yield* encodings.reduceRight<AsyncIterable<Buffer>>((encoded, name) => {
      const decoder = DECODERS.get(name);
      return decoder === undefined ? encoded : limited(decode(encoded, decoder), bytesMax);
    }, body);
  } finally {
    release?.();
  }
}

async function* limited(body: AsyncIterable<Buffer>, bytesMax: number): AsyncGenerator<Buffer> {
  let left = bytesMax;
  for await (const piece of body) {
    yield piece.subarray(0, left);
    left -= piece.length;
    if (left <= 0) return;
  }
}

async function* decode(body: AsyncIterable<Buffer>, decoder: Decoder): AsyncGenerator<Buffer> {
  try {
    yield* decoder === 'gzip' ? gunzipped(body) : transformed(body, decoder);
  } catch (error) {
    throw error instanceof Undecodable ? error : new Undecodable(`it is not ${decoder}: ${faultOf(error)}`);
  }
}

async function* transformed(body: AsyncIterable<Buffer>, decoder: 'deflate' | 'br'): AsyncGenerator<Buffer> {
  const pieces = body[Symbol.asyncIterator]();
  let beginning = Buffer.alloc(0);
  while (beginning.length < 2) {
    const { done, value } = await pieces.next();
    if (done) break;
    beginning = Buffer.concat([beginning, value]);
  }
  if (beginning.length === 0) return; // nothing is encoded as nothing
  const rest = { [Symbol.asyncIterator]: () => pieces };
  async function* whole() {
    yield beginning;
    yield* rest;
  }
  yield* pipeline(whole(), transformOf(decoder, beginning), () => undefined);
}

function transformOf(decoder: 'deflate' | 'br', beginning: Buffer): Transform {
  if (decoder === 'br') return zlib.createBrotliDecompress({ finishFlush: zlib.constants.BROTLI_OPERATION_FLUSH });
  const options = { finishFlush: zlib.constants.Z_SYNC_FLUSH };
  // The standard means zlib's format by it, and some servers send the bare one.
  return hasZlibHeader(beginning) ? zlib.createInflate(options) : zlib.createInflateRaw(options);
}

function hasZlibHeader([first = 0, second = 0]: Buffer): boolean {
  return (first & 0x0f) === 8 && ((first << 8) | second) % 31 === 0;
}
