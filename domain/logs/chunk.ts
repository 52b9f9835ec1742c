import { promisify } from 'node:util';
import { constants, gunzip, gunzipSync, gzip } from 'node:zlib';
import { continuesIn, flagOf, type LogSource, type LogStream, sourceOf, streamOf } from './line-flags.ts';

/**
 * A chunk is a batch of consecutive lines of one job (or build): the unit that is produced to `job_logs`, stored as one row, and
 * read back. No object is made per line on that way: `lines` is text, gzipped where that pays.
 *
 * A line in it: a flag (domain/logs/line-flags.ts: its stream, who wrote it, whether it continues), the engine's RFC 3339 timestamp, a space,
 * the bytes of the text as they were printed, a newline.
 */
export interface LogChunk {
  /** The job or the build whose lines these are. */
  sourceId: string;
  attempt: number;
  firstNumber: number;
  lastNumber: number;
  lines: Buffer;
}

export interface LogLine {
  number: number;
  timestamp: string;
  stream: LogStream;
  source: LogSource;
  text: string;
  continues: boolean;
  attempt: number;
}

const GZIP_MAGIC = 0x1f; // no flag of a line has this value, so the first byte tells
const GZIP_FROM_BYTES = 512; // below, the header eats what compression gains
const UNPACK_BYTES_MAX = 1024 * 1024; // at once, whatever the packed bytes say of their size
const ID_BYTES = 16;
const HEAD_BYTES = ID_BYTES + 4 * 4;

const gzipAsync = promisify(gzip);
const gunzipAsync = promisify(gunzip);

/** One line as it stands in a chunk. `text` must hold no newline: `splitText` makes such pieces. */
export function formatLine(
  stream: LogStream,
  timestamp: string,
  text: string,
  { continues = false, source = 'PROGRAM' }: { continues?: boolean; source?: LogSource } = {},
): string {
  return `${String.fromCharCode(flagOf(stream, source, continues))}${timestamp} ${text}\n`;
}

/** Compresses the text of a chunk (level 1: 4 times smaller at a tenth of the cost of the default level). */
export async function packLines(text: Buffer): Promise<Buffer> {
  return text.length < GZIP_FROM_BYTES ? text : gzipAsync(text, { level: constants.Z_BEST_SPEED });
}

/** Into one buffer that is as large as needed: in pieces of the default size it takes 2.5 times the CPU, and twice the memory. */
export async function unpackLines(lines: Buffer): Promise<Buffer> {
  if (lines[0] !== GZIP_MAGIC) return lines;
  const chunkSize = Math.min(unpackedBytes(lines) + 1, UNPACK_BYTES_MAX); // with one byte left zlib sees that it is done
  return gunzipAsync(lines, { chunkSize: Math.max(chunkSize, constants.Z_MIN_CHUNK) });
}

export function unpackLinesSync(lines: Buffer): Buffer {
  return lines[0] === GZIP_MAGIC ? gunzipSync(lines) : lines;
}

/** The size of a chunk's text, without unpacking it: gzip ends with it. */
export function unpackedBytes(lines: Buffer): number {
  return lines[0] === GZIP_MAGIC && lines.length >= 4 ? lines.readUInt32LE(lines.length - 4) : lines.length;
}

/** The lines of an unpacked chunk, or those of one stream. Bytes that are not UTF-8 become U+FFFD. */
export function parseLines(
  chunk: Buffer,
  firstNumber: number,
  attempt: number,
  stream?: LogLine['stream'] | null,
): LogLine[] {
  const text = chunk.toString('utf8');
  const lines: LogLine[] = [];
  let number = firstNumber;
  for (let start = 0; start < text.length; number += 1) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    if (isOfStream(text, start, stream)) lines.push(lineAt(text, start, end, number, attempt));
    start = end + 1;
  }
  return lines;
}

/**
 * What an attempt prints before its first line when there were attempts before it: a chunk without lines. All that stands before it on the
 * bus is of earlier attempts, so once whoever stores chunks has come to it, the number of the first line is known (db/logs/markers.ts).
 */
export function attemptMarker(sourceId: string, attempt: number): LogChunk {
  return { sourceId, attempt, firstNumber: 0, lastNumber: 0, lines: Buffer.alloc(0) };
}

/**
 * What is printed behind a log that was ended by somebody else than who printed it: all that stands before it belongs to the log, so that whoever
 * stores chunks knows the number of its last line when he comes to it. What comes behind it does not count any more.
 */
export function endMarker(sourceId: string): LogChunk {
  return attemptMarker(sourceId, END_MARKER_ATTEMPT);
}

/** On the wire, an end-of-log marker has this attempt number. No attempt does. */
const END_MARKER_ATTEMPT = 0x7fff_ffff;

/** Separates the lines of one attempt from those of the attempts before it, or ends the log of a job or a build. */
export type LogMarker =
  | { kind: 'attempt-marker'; sourceId: string; attempt: number }
  | { kind: 'end-marker'; sourceId: string };

/** The marker that this chunk is; undefined where it holds lines. */
export function markerOf({ sourceId, attempt, lastNumber }: LogChunk): LogMarker | undefined {
  if (lastNumber !== 0) return undefined;
  return attempt === END_MARKER_ATTEMPT
    ? { kind: 'end-marker', sourceId }
    : { kind: 'attempt-marker', sourceId, attempt };
}

/** Whether the line that begins at `start` is of this stream; any is where none is named. */
export function isOfStream(text: string, start: number, stream: LogLine['stream'] | null | undefined): boolean {
  return !stream || streamOf(text.charCodeAt(start)) === stream;
}

/** The line that stands from `start` to `end` in the text of a chunk. */
export function lineAt(text: string, start: number, end: number, number: number, attempt: number): LogLine {
  const space = text.indexOf(' ', start);
  const flag = text.charCodeAt(start);
  return {
    number,
    timestamp: text.slice(start + 1, space),
    stream: streamOf(flag),
    source: sourceOf(flag),
    text: text.slice(space + 1, end),
    continues: continuesIn(flag),
    attempt,
  };
}

/** Several chunks as one message. All of them must belong to the partition of the message's key. */
export function encodeChunks(chunks: LogChunk[]): Buffer {
  const parts: Buffer[] = [];
  for (const chunk of chunks) {
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    head.write(chunk.sourceId.replaceAll('-', ''), 0, ID_BYTES, 'hex');
    head.writeUInt32BE(chunk.attempt, ID_BYTES);
    head.writeUInt32BE(chunk.firstNumber, ID_BYTES + 4);
    head.writeUInt32BE(chunk.lastNumber, ID_BYTES + 8);
    head.writeUInt32BE(chunk.lines.length, ID_BYTES + 12);
    parts.push(head, chunk.lines);
  }
  return Buffer.concat(parts);
}

/** The chunks of a message; their `lines` share its memory. A message that is cut short or not ours gives those before the fault. */
export function decodeChunks(message: Buffer): LogChunk[] {
  const chunks: LogChunk[] = [];
  for (let at = 0; at + HEAD_BYTES <= message.length; ) {
    const id = message.toString('hex', at, at + ID_BYTES);
    const end = at + HEAD_BYTES + message.readUInt32BE(at + ID_BYTES + 12);
    if (end > message.length) break;
    chunks.push({
      sourceId: `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`,
      attempt: message.readUInt32BE(at + ID_BYTES),
      firstNumber: message.readUInt32BE(at + ID_BYTES + 4),
      lastNumber: message.readUInt32BE(at + ID_BYTES + 8),
      lines: message.subarray(at + HEAD_BYTES, end),
    });
    at = end;
  }
  return chunks;
}
