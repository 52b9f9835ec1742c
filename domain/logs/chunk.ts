/**
 * A batch of consecutive lines of one job (or build): the unit on the topic `job_logs`, and a row
 * of log_chunks. `lines` is text (encode.ts), gzipped where that pays (packing.ts). No line becomes
 * an object on its way.
 */
export interface LogChunk {
  /** The job or the build whose lines these are. */
  sourceId: string;
  attempt: number;
  /**
   * The epoch of the worker that has numbered these lines; the attempt if it is left out. It is the
   * attempt plus the times that the job was taken over before, so that it grows with each worker
   * that may print.
   */
  epoch?: number;
  firstNumber: number;
  lastNumber: number;
  lines: Buffer;
}

export function epochOf({ attempt, epoch = attempt }: Pick<LogChunk, 'attempt' | 'epoch'>): number {
  return epoch;
}

/**
 * Stands on the bus between chunks of one log. When the worker that stores lines reaches a marker,
 * everything before the marker is stored. So the worker can settle how many lines there are
 * (db/logs/markers.ts).
 */
export type LogMarker = AttemptMarker | EndMarker;

/**
 * Separates the lines of this epoch from those of the epochs before it. The worker of a later
 * attempt, or one that adopts a container, publishes it before its first line.
 */
export interface AttemptMarker {
  kind: 'attempt-marker';
  sourceId: string;
  epoch: number;
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

export function attemptMarker(sourceId: string, epoch: number): AttemptMarker {
  return { kind: 'attempt-marker', sourceId, epoch };
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
/** In the attempt of a chunk: an epoch of EPOCH_BYTES stands between the head and the lines. */
const HAS_EPOCH = 0x8000_0000;
const EPOCH_BYTES = 4;
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
    const chunk = isMarker(entry) ? asChunk(entry) : entry;
    const { sourceId, attempt, firstNumber, lastNumber, lines } = chunk;
    const epoch = epochOf(chunk);
    const hasEpoch = epoch !== attempt;
    const head = Buffer.allocUnsafe(HEAD_BYTES + (hasEpoch ? EPOCH_BYTES : 0));
    head.write(sourceId.replaceAll('-', ''), 0, ID_BYTES, 'hex');
    head.writeUInt32BE(hasEpoch ? attempt + HAS_EPOCH : attempt, ID_BYTES);
    head.writeUInt32BE(firstNumber, ID_BYTES + 4);
    head.writeUInt32BE(lastNumber, ID_BYTES + 8);
    head.writeUInt32BE(lines.length, ID_BYTES + 12);
    if (hasEpoch) head.writeUInt32BE(epoch, HEAD_BYTES);
    parts.push(head, lines);
  }
  return Buffer.concat(parts);
}

function asChunk(marker: LogMarker): LogChunk {
  const attempt = marker.kind === 'attempt-marker' ? marker.epoch : END_ATTEMPT;
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
    const given = message.readUInt32BE(at + ID_BYTES);
    const hasEpoch = given >= HAS_EPOCH;
    const start = at + HEAD_BYTES + (hasEpoch ? EPOCH_BYTES : 0);
    const end = start + message.readUInt32BE(at + ID_BYTES + 12);
    if (end > message.length) break;
    const sourceId = `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`;
    const attempt = hasEpoch ? given - HAS_EPOCH : given;
    const firstNumber = message.readUInt32BE(at + ID_BYTES + 4);
    const lastNumber = message.readUInt32BE(at + ID_BYTES + 8);
    const epoch = hasEpoch ? { epoch: message.readUInt32BE(at + HEAD_BYTES) } : {};
    if (lastNumber > 0)
      entries.push({ sourceId, attempt, ...epoch, firstNumber, lastNumber, lines: message.subarray(start, end) });
    else entries.push(attempt === END_ATTEMPT ? endMarker(sourceId) : attemptMarker(sourceId, attempt));
    at = end;
  }
  return entries;
}
