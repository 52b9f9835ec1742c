import { promisify } from 'node:util';
import { constants, gunzip, gzip } from 'node:zlib';

/* The text of a chunk is gzipped where that pays. */

const GZIP_MAGIC = 0x1f; // no line has this flag, so the first byte identifies gzip
const GZIP_FROM_BYTES = 512; // below this, the header takes what compression gains
const UNPACK_BYTES_MAX = 1024 * 1024; // the most to reserve, whatever the packed bytes claim

const gzipAsync = promisify(gzip);
const gunzipAsync = promisify(gunzip);

/**
 * Compresses the text of a chunk (level 1: 4 times smaller at a tenth of the cost of the default
 * level).
 */
export async function packLines(text: Buffer): Promise<Buffer> {
  return text.length < GZIP_FROM_BYTES ? text : gzipAsync(text, { level: constants.Z_BEST_SPEED });
}

/**
 * The text of a packed chunk, in one buffer of the size that it needs. Pieces of zlib's default
 * size take 2.5 times the CPU and twice the memory.
 */
export async function unpackLines(lines: Buffer): Promise<Buffer> {
  if (!isPacked(lines)) return lines;
  // One spare byte shows zlib that it is done.
  const chunkSize = Math.min(unpackedBytes(lines) + 1, UNPACK_BYTES_MAX);
  return gunzipAsync(lines, { chunkSize: Math.max(chunkSize, constants.Z_MIN_CHUNK) });
}

/** Whether a chunk is compressed. The short ones are not. */
export function isPacked(lines: Buffer): boolean {
  return lines[0] === GZIP_MAGIC;
}

/** The size of a chunk's text, without unpacking it: the size ends a gzip file. */
export function unpackedBytes(lines: Buffer): number {
  return isPacked(lines) && lines.length >= 4 ? lines.readUInt32LE(lines.length - 4) : lines.length;
}
