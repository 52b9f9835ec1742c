/**
 * A batch of consecutive lines of one job (or build): the unit on the topic `job_logs`, and a row
 * of log_chunks. `lines` is text (encode.ts), gzipped where that pays (packing.ts). No line becomes
 * an object on its way.
 */
export interface LogChunk {
  /** The job or the build whose lines these are. */
  sourceId: string;
  attempt: number;
  firstNumber: number;
  lastNumber: number;
  lines: Buffer;
}

/**
 * Stands on the bus between chunks of one log. When the worker that stores lines reaches a marker,
 * everything before the marker is stored. So the worker can settle how many lines there are
 * (db/logs/markers.ts).
 */
export type LogMarker = AttemptMarker | EndMarker;

/**
 * Separates the lines of this attempt from those of the attempts before it. The attempt publishes
 * it before its first line.
 */
export interface AttemptMarker {
  kind: 'attempt-marker';
  sourceId: string;
  attempt: number;
}

/**
 * Ends a log whose job or build was ended by another process than its worker. Lines before the
 * marker belong to the log, and lines after it do not count.
 */
export interface EndMarker {
  kind: 'end-marker';
  sourceId: string;
}

/** One of the entries of a message on `job_logs`. */
export type LogEntry = LogChunk | LogMarker;

export function attemptMarker(sourceId: string, attempt: number): AttemptMarker {
  return { kind: 'attempt-marker', sourceId, attempt };
}

export function endMarker(sourceId: string): EndMarker {
  return { kind: 'end-marker', sourceId };
}

export function isMarker(entry: LogEntry): entry is LogMarker {
  return 'kind' in entry;
}

export function isChunk(entry: LogEntry): entry is LogChunk {
  return !isMarker(entry);
}

const ID_BYTES = 16;
const HEAD_BYTES = ID_BYTES + 4 * 4;
/**
 * On the wire a marker is a chunk without lines. The marker that ends a log has this number, which
 * no attempt has.
 */
const END_ATTEMPT = 0x7fff_ffff;
const NO_LINES = Buffer.alloc(0);

/**
 * Encodes several entries as one message. All of them must belong to the partition of the message's
 * key.
 */
export function encodeChunks(entries: LogEntry[]): Buffer {
  const parts: Buffer[] = [];
  for (const entry of entries) {
    const { sourceId, attempt, firstNumber, lastNumber, lines } = isMarker(entry) ? asChunk(entry) : entry;
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    head.write(sourceId.replaceAll('-', ''), 0, ID_BYTES, 'hex');
    head.writeUInt32BE(attempt, ID_BYTES);
    head.writeUInt32BE(firstNumber, ID_BYTES + 4);
    head.writeUInt32BE(lastNumber, ID_BYTES + 8);
    head.writeUInt32BE(lines.length, ID_BYTES + 12);
    parts.push(head, lines);
  }
  return Buffer.concat(parts);
}

function asChunk(marker: LogMarker): LogChunk {
  const attempt = marker.kind === 'attempt-marker' ? marker.attempt : END_ATTEMPT;
  return { sourceId: marker.sourceId, attempt, firstNumber: 0, lastNumber: 0, lines: NO_LINES };
}

/**
 * The entries of a message. Their `lines` share its memory. A message that is cut short or foreign
 * gives the entries before the fault.
 */
export function decodeChunks(message: Buffer): LogEntry[] {
  const entries: LogEntry[] = [];
  for (let at = 0; at + HEAD_BYTES <= message.length; ) {
    const id = message.toString('hex', at, at + ID_BYTES);
    const end = at + HEAD_BYTES + message.readUInt32BE(at + ID_BYTES + 12);
    if (end > message.length) break;
    const sourceId = `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`;
    const attempt = message.readUInt32BE(at + ID_BYTES);
    const firstNumber = message.readUInt32BE(at + ID_BYTES + 4);
    const lastNumber = message.readUInt32BE(at + ID_BYTES + 8);
    if (lastNumber > 0)
      entries.push({ sourceId, attempt, firstNumber, lastNumber, lines: message.subarray(at + HEAD_BYTES, end) });
    else entries.push(attempt === END_ATTEMPT ? endMarker(sourceId) : attemptMarker(sourceId, attempt));
    at = end;
  }
  return entries;
}
