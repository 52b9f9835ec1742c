import { setImmediate as turn } from 'node:timers/promises';
import type { LogChunk } from '../../../domain/logs/chunk.ts';
import type { LogStream } from '../../../domain/logs/line.ts';
import { sourceOf, streamOf } from '../../../domain/logs/line-flags.ts';
import { unpackLines } from '../../../domain/logs/packing.ts';

/**
 * The stored lines of one attempt, as far as a worker needs them that reads the container's log
 * from its beginning: which of the lines that it meets are stored already.
 *
 * Lines of one stream stand in the store as in the engine's log. The order between the streams
 * differs, because lines that came live are numbered as they arrived. So the lines are counted per
 * stream.
 */
export interface StoredLog {
  /** The number of the last stored line, 0 without one. */
  lastNumber: number;
  /** Bytes of the attempt's lines, counted as they stand in chunks. */
  bytes: number;
  /** The texts that Chronoverse itself has said. */
  said: ReadonlySet<string>;
  /**
   * Whether the next line of its stream is stored. Call it with each line of the container's log.
   */
  takes(flag: number, bytes: Buffer, start: number, end: number): boolean;
}

const NEWLINE = 0x0a;
const SPACE = 0x20;
/**
 * How many of the last lines of a stream are compared with the log, beyond their number. What
 * comes live is up to 1 MB per stream ahead of the engine's file, and an engine that is killed
 * never writes that: so lines may be stored that the file lacks.
 */
const COMPARED_LINES_MAX = 2 ** 20;

/** Reads the stored lines of `attempt`. `read` gives chunks behind a number, in order. */
export async function readStoredLog(attempt: number, read: (after: number) => Promise<LogChunk[]>): Promise<StoredLog> {
  const streams: Record<LogStream, Stream> = { STDOUT: createStream(), STDERR: createStream() };
  const said = new Set<string>();
  let lastNumber = 0;
  let bytes = 0;

  function add(text: Buffer, start: number, end: number): void {
    bytes += end - start;
    const flag = text[start] ?? 0;
    if (sourceOf(flag) === 'SYSTEM') said.add(text.toString('utf8', text.indexOf(SPACE, start) + 1, end - 1));
    else streams[streamOf(flag)].add(hashOf(flag, text, start + 1, end));
  }

  for (let chunks = await read(0); chunks.length > 0; chunks = await read(lastNumber)) {
    const before = lastNumber;
    for (const chunk of chunks) {
      if (chunk.lastNumber <= lastNumber) continue; // chunks may overlap
      let skip = Math.max(0, lastNumber + 1 - chunk.firstNumber);
      lastNumber = chunk.lastNumber;
      if (chunk.attempt !== attempt) continue;
      const text = await unpackLines(chunk.lines);
      for (let start = 0; start < text.length; ) {
        const end = text.indexOf(NEWLINE, start) + 1 || text.length;
        if (skip > 0) skip -= 1;
        else add(text, start, end);
        start = end;
      }
      await turn(); // a log of a million lines holds up nothing else
    }
    if (lastNumber === before) break;
  }
  return {
    lastNumber,
    bytes,
    said,
    takes: (flag, line, start, end) =>
      sourceOf(flag) === 'PROGRAM' && streams[streamOf(flag)].takes(() => hashOf(flag, line, start, end)),
  };
}

/** The stored lines of one stream: their number, and the last of them as hashes. */
interface Stream {
  add(hash: number): void;
  takes(hash: () => number): boolean;
}

function createStream(): Stream {
  let hashes = new Uint32Array(1_024); // a ring of the last lines, once it has its full size
  let count = 0;
  let met = 0; // how many of them the log has given, or left out
  const at = (index: number) => hashes[index % COMPARED_LINES_MAX];

  return {
    add(hash) {
      if (count === hashes.length && count < COMPARED_LINES_MAX) {
        const larger = new Uint32Array(2 * count);
        larger.set(hashes);
        hashes = larger;
      }
      hashes[count % COMPARED_LINES_MAX] = hash;
      count += 1;
    },

    takes(hash) {
      if (met === count) return false;
      if (met < count - COMPARED_LINES_MAX) {
        met += 1;
        return true;
      }
      const wanted = hash();
      // The log lacks lines where its engine was killed, or its disk was full. Without a later line
      // like this one, this is the first line behind that place that is not stored.
      let index = met;
      while (index < count && at(index) !== wanted) index += 1;
      met = Math.min(count, index + 1);
      return index < count;
    },
  };
}

/** FNV-1a of a line without its timestamp, which is another one for a line that came live. */
function hashOf(flag: number, bytes: Buffer, start: number, end: number): number {
  let hash = 0x811c_9dc5 ^ flag;
  for (let at = bytes.indexOf(SPACE, start) + 1; at < end; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x0100_0193);
  return hash >>> 0;
}
