import { insertChunks } from '../../db/logs/append.ts';
import { settleMarkers } from '../../db/logs/markers.ts';
import { noEffects } from '../../domain/effects.ts';
import { decodeChunks, epochOf, isChunk, isMarker, type LogChunk, type LogEntry } from '../../domain/logs/chunk.ts';
import { allAborted, unlessAborted } from '../../platform/async/abort.ts';
import { createBatcher } from '../../platform/async/batcher.ts';
import { retry } from '../../platform/async/retry.ts';
import { publishHints } from '../../platform/publish.ts';
import type { Parts, Worker } from '../shared/parts.ts';

/**
 * The size of one statement: large enough that the round trip costs next to nothing, small enough
 * that memory stays flat.
 */
const STORE_BYTES_MAX = 4 * 1024 * 1024;
const STORE_CHUNKS_MAX = 1_000;
const SETS_IN_FLIGHT = 2;
/** How many partitions give their lines to one statement. */
const PARTITIONS_AT_ONCE = 12;

interface Arrived {
  entries: LogEntry[];
  signal: AbortSignal;
  stored: () => void;
}

/**
 * Stores the lines that workers publish. Several copies share the partitions. A batch is committed
 * once it is stored.
 */
export async function startJoblogs({ db, bus, cache, log }: Parts): Promise<Worker> {
  const batcher = createBatcher<Arrived>({ sizeMax: PARTITIONS_AT_ONCE, inFlightMax: SETS_IN_FLIGHT, write: store });

  async function store(arrived: Arrived[]): Promise<void> {
    const entries = arrived.flatMap(({ entries }) => entries).filter(isWellFormed);
    const markers = entries.filter(isMarker);
    const chunks = entries.filter(isChunk);
    const steps = [...sets(chunks)].map((set) => () => insertChunks(db, set));
    if (markers.length > 0) steps.push(settle); // after everything before them is stored
    // When all are aborted, another consumer stores all of them.
    const unwanted = allAborted(arrived.map(({ signal }) => signal));
    for (const step of steps) {
      // Retries here, not by redelivery, so that the sets that are stored already are not stored
      // again.
      await retry({ log, what: 'Storing log lines', signal: unwanted }, step).catch(unlessAborted(unwanted));
      if (unwanted.aborted) return;
    }
    for (const { stored } of arrived) stored();

    async function settle(): Promise<void> {
      const ended = await settleMarkers(db, markers);
      const changed = ended.map(({ id, userId, of }) => ({ userId, [of]: [id] }));
      await publishHints(cache, { ...noEffects, changed });
    }
  }

  return bus.consume({
    topic: 'job_logs',
    group: 'joblogs',
    concurrency: PARTITIONS_AT_ONCE,
    finishes: true,
    onBatch: (messages, signal) =>
      new Promise((stored, gaveUp) => {
        signal.addEventListener('abort', () => gaveUp(signal.reason), { once: true });
        batcher.add({ entries: messages.flatMap(decodeChunks), signal, stored });
      }),
  });
}

/** Whether the table accepts this entry. One that it refuses must not stop those behind it. */
function isWellFormed(entry: LogEntry): boolean {
  if (isMarker(entry)) return entry.kind === 'end-marker' || entry.epoch <= INTEGER_MAX;
  const { firstNumber, lastNumber, attempt } = entry;
  return (
    attempt <= INTEGER_MAX &&
    epochOf(entry) <= INTEGER_MAX &&
    firstNumber > 0 &&
    lastNumber >= firstNumber &&
    lastNumber <= INTEGER_MAX
  );
}

const INTEGER_MAX = 0x7fff_ffff; // the most that the table's columns hold

function* sets(chunks: LogChunk[]): Generator<LogChunk[]> {
  let set: LogChunk[] = [];
  let bytes = 0;
  for (const chunk of chunks) {
    if (set.length >= STORE_CHUNKS_MAX || (set.length > 0 && bytes + chunk.lines.length > STORE_BYTES_MAX)) {
      yield set;
      set = [];
      bytes = 0;
    }
    set.push(chunk);
    bytes += chunk.lines.length;
  }
  if (set.length > 0) yield set;
}
