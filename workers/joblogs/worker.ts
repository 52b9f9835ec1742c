import { insertChunks } from '../../db/logs/append.ts';
import { settleMarkers } from '../../db/logs/markers.ts';
import { noEffects } from '../../domain/effects.ts';
import { decodeChunks, type LogChunk, markerOf } from '../../domain/logs/chunk.ts';
import { allAborted, unlessAborted } from '../../platform/async/abort.ts';
import { createBatcher } from '../../platform/async/batcher.ts';
import { retry } from '../../platform/async/retry.ts';
import { publishHints } from '../../platform/publish.ts';
import type { Parts, Worker } from '../shared/parts.ts';

/** One statement: large enough that the round trip is nothing, small enough that memory stays flat. */
const STORE_BYTES_MAX = 4 * 1024 * 1024;
const STORE_CHUNKS_MAX = 1_000;
const SETS_IN_FLIGHT = 2;
/** Partitions that wait for their lines to be stored: what they have read goes together into one statement. */
const PARTITIONS_AT_ONCE = 12;

interface Arrived {
  chunks: LogChunk[];
  signal: AbortSignal;
  stored: () => void;
}

/** Stores what is printed. Several copies share the partitions; a batch is committed once it is stored. */
export async function startJoblogs({ db, bus, cache, log }: Parts): Promise<Worker> {
  const batcher = createBatcher<Arrived>({ sizeMax: PARTITIONS_AT_ONCE, inFlightMax: SETS_IN_FLIGHT, write: store });

  async function store(arrived: Arrived[]): Promise<void> {
    const chunks = arrived.flatMap(({ chunks }) => chunks);
    const wellFormed = chunks.filter(isWellFormed);
    const markers = wellFormed.flatMap((chunk) => markerOf(chunk) ?? []);
    const steps = [...sets(wellFormed.filter((chunk) => !markerOf(chunk)))].map((set) => () => insertChunks(db, set));
    if (markers.length > 0) steps.push(settle); // when all that stands before them is stored
    const unwanted = allAborted(arrived.map(({ signal }) => signal)); // then another consumer stores all of them
    for (const step of steps) {
      // Tried again here rather than by redelivery, so that what was stored of the batch is not stored again.
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
        batcher.add({ chunks: messages.flatMap(decodeChunks), signal, stored });
      }),
  });
}

/** What the table would refuse must not stop what comes behind it. */
function isWellFormed(chunk: LogChunk): boolean {
  const { firstNumber, lastNumber, attempt } = chunk;
  if (attempt > INTEGER_MAX) return false;
  return markerOf(chunk) !== undefined || (firstNumber > 0 && lastNumber >= firstNumber && lastNumber <= INTEGER_MAX);
}

const INTEGER_MAX = 0x7fff_ffff; // of its columns

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
