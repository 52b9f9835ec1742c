import DataLoader from 'dataloader';
import type { Db } from '../../db/client.ts';
import type { LogPlace } from '../../db/logs/read.ts';
import { CHUNK_BYTES_MAX } from '../../domain/limits.ts';
import type { LogChunk } from '../../domain/logs/chunk.ts';
import { type LogFilter, lineSelector } from '../../domain/logs/filter.ts';
import type { LogLine } from '../../domain/logs/line.ts';
import { isPacked, unpackedBytes, unpackLines } from '../../domain/logs/packing.ts';
import { characterCount } from '../../domain/text.ts';
import type { AnswerBudget } from '../answer-budget.ts';
import { failure } from '../errors.ts';
import { type Page, type PagingArgs, pageSize } from '../paging.ts';
import { logCursor } from './cursor.ts';
import { type LogSource, placesOf } from './retention.ts';
import { type ReadChunks, SetOfReads } from './set-of-reads.ts';

export const LOG_PAGE_SIZE = 100;
export const LOG_PAGE_SIZE_MAX = 1_000;
export const SEARCH_LENGTH_MAX = 1_000;

type LogPageArgs = PagingArgs & LogFilter;

/**
 * Reads the pages of logs for one answer. Pages that are asked for in the same turn with the same
 * arguments, such as those of the jobs of a list, are read together.
 */
export class LogPages {
  readonly #db: Db;
  readonly #budget: AnswerBudget;
  readonly #endedOnly: boolean;
  /** Whether it was asked for a log that may get more lines, and refused it. */
  hasMetOpen = false;
  readonly #sets = new Map<string, DataLoader<LogSource, Page<LogLine>>>();
  #before: Promise<unknown> = Promise.resolve();

  constructor(db: Db, budget: AnswerBudget, { endedOnly = false } = {}) {
    this.#db = db;
    this.#budget = budget;
    this.#endedOnly = endedOnly;
  }

  /**
   * One page of a stored log. It reads a bounded part of the log. So a page may have fewer lines
   * than requested, or none; it then says that there is more and where to continue. Rejects with
   * BAD_REQUEST.
   */
  page(source: LogSource & { logOpen: boolean }, args: LogPageArgs): Promise<Page<LogLine>> {
    if (this.#endedOnly && (source.completedAt === null || source.logOpen)) {
      this.hasMetOpen = true;
      // Nobody sees it. A throw would drop the pages of other items (api/schema/resolver.ts).
      return Promise.reject(new Error('The log is still open.'));
    }
    const key = JSON.stringify(args);
    const set = this.#sets.get(key) ?? this.#beginSet(key, args);
    return set.load(source);
  }

  #beginSet(key: string, args: LogPageArgs): DataLoader<LogSource, Page<LogLine>> {
    const set = new DataLoader<LogSource, Page<LogLine>>(
      (sources) => {
        this.#sets.delete(key);
        // One set after the other, because a set holds what it reads.
        const pages = this.#before.then(() => readPages(this.#db, sources, args, this.#budget));
        this.#before = pages.catch(() => undefined); // a failure is its own set's
        return pages;
      },
      // In the turn in which rows by their ids are read (platform/async/set-reads.ts), so that the
      // statements of both go to the database in one piece.
      { cache: false, maxBatchSize: PAGES_PER_SET_MAX, batchScheduleFn: (read) => void setImmediate(read) },
    );
    this.#sets.set(key, set);
    return set;
  }
}

const PAGES_PER_SET_MAX = 100;

/** Each of the pages, or why it cannot be read. Throws what is wrong with all of them. */
async function readPages(
  db: Db,
  sources: readonly LogSource[],
  args: LogPageArgs,
  budget: AnswerBudget,
): Promise<(Page<LogLine> | Error)[]> {
  const size = pageSize(args, LOG_PAGE_SIZE, LOG_PAGE_SIZE_MAX);
  refuseBadSearch(args.search);
  const reads = new SetOfReads(db, { pages: sources.length, backwards: size.backwards });
  return Promise.all(
    sources.map(async (source) => {
      try {
        const hasCursor = typeof args.after === 'string' || typeof args.before === 'string';
        const bounds = hasCursor ? await boundsOf(db, source, args) : WHOLE_LOG;
        return await readPage(source, args, { ...size, bounds, budget, read: (place) => reads.read(place) });
      } catch (error) {
        return error instanceof Error ? error : new Error(String(error));
      } finally {
        reads.leave();
      }
    }),
  );
}

interface Reading {
  count: number;
  backwards: boolean;
  bounds: Bounds;
  budget: AnswerBudget;
  read: ReadChunks;
}

async function readPage(
  { id: sourceId }: LogSource,
  args: LogPageArgs,
  { count, backwards, bounds, budget, read }: Reading,
): Promise<Page<LogLine>> {
  const lines: LogLine[] = [];
  let bytes = 0;
  let reached: number | undefined; // where the next page continues if this one is cut short
  const take = (wanted: LogLine[]): boolean => {
    for (const line of wanted) {
      if (lines.length === count || bytes >= PAGE_BYTES_MAX) return false;
      lines.push(line);
      bytes += line.text.length;
      budget.read(line.text.length);
      reached = line.number;
    }
    return true;
  };
  // If all lines are shown, each chunk has one, and one chunk more shows that there is more.
  const isSearched = typeof args.stream === 'string' || typeof args.search === 'string';
  const chunksAtFirst = isSearched ? CHUNKS_PER_READ_MIN : Math.min(CHUNKS_PER_READ_MIN, count + 1);
  const scan = (backwards ? scanBackwards : scanForwards)({ sourceId, chunksAtFirst, ...bounds });
  const select = lineSelector(args);
  let more = false;
  let scanned = 0;
  let chunks = 0;
  for (let step = scan.next([]); !step.done; ) {
    if ('place' in step.value) {
      step = scan.next(await read(step.value.place));
      continue;
    }
    const { chunk, from, to } = step.value;
    if (scanned > SCAN_BYTES_MAX || chunks === SCAN_CHUNKS_MAX) {
      more = true;
      break;
    }
    scanned += unpackedBytes(chunk.lines);
    chunks += 1;
    const { firstNumber, attempt } = chunk;
    const selected = isPacked(chunk.lines)
      ? await budget.unpacking.run(async () => select(await unpackLines(chunk.lines), firstNumber, attempt))
      : select(chunk.lines, firstNumber, attempt);
    const wanted = selected.filter(({ number }) => number >= from && number <= to);
    if (!take(backwards ? wanted.reverse() : wanted)) {
      more = true;
      break;
    }
    reached = backwards ? from : to;
    step = scan.next([]);
  }
  const end = reached;
  const goesOn = more && end !== undefined ? () => logCursor(sourceId, end) : undefined;
  if (backwards) lines.reverse();
  return {
    nodes: lines,
    cursorOf: ({ number }) => logCursor(sourceId, number),
    hasNextPage: backwards ? typeof args.before === 'string' : more,
    hasPreviousPage: backwards ? more : bounds.after >= bounds.first,
    ...(goesOn && (backwards ? { startCursor: goesOn } : { endCursor: goesOn })),
  };
}

/** Throws BAD_REQUEST. */
function refuseBadSearch(search: string | null | undefined): void {
  if (typeof search !== 'string') return;
  if (search.includes('\n')) {
    throw failure('BAD_REQUEST', '`search` must be a part of one line: it has a newline, and no line has one in it.');
  }
  const length = characterCount(search);
  if (length >= 1 && length <= SEARCH_LENGTH_MAX) return;
  throw failure('BAD_REQUEST', `\`search\` must have 1 to ${SEARCH_LENGTH_MAX} characters, not ${length}.`);
}

/** A page lies between these line numbers, both excluded. */
interface Bounds {
  after: number;
  /** Null is behind the last stored line. */
  before: number | null;
  /** The first line that is stored. */
  first: number;
}

const WHOLE_LOG: Bounds = { after: 0, before: null, first: 1 };

async function boundsOf(db: Db, source: LogSource, args: PagingArgs): Promise<Bounds> {
  const { after = 0, before = null, first = 1 } = await placesOf(db, source, args);
  return { after, before, first };
}

/** The lines of a chunk from one number to another, both included. */
interface Span {
  chunk: LogChunk;
  from: number;
  to: number;
}

const PAGE_BYTES_MAX = 4 * 1024 * 1024;
/**
 * The bounds of what one page scans. Reading and unpacking take most of the time:
 * docs/decisions/0018-search-without-index.md
 */
const SCAN_BYTES_MAX = 64 * CHUNK_BYTES_MAX;
const SCAN_CHUNKS_MAX = 2_048;
/**
 * A chunk holds one line or thousands. The first read is sized for a page, the last one for a
 * search without a match. (A page of 100 lines of a fast printer takes 13 ms if it reads 16
 * chunks.)
 */
const CHUNKS_PER_READ_MIN = 4;
const CHUNKS_PER_READ_MAX = 128;

interface Scanned extends Bounds {
  sourceId: string;
  chunksAtFirst: number;
}

/** Gives the spans in their order. Where it gives a place, it takes the chunks there. */
type Scan = Generator<Span | { place: LogPlace }, void, LogChunk[]>;

function* scanForwards({ sourceId, chunksAtFirst, after, before }: Scanned): Scan {
  const end = before ?? Number.POSITIVE_INFINITY;
  let next = after + 1;
  let count = chunksAtFirst;
  while (next < end) {
    const chunks = yield { place: { sourceId, at: next, count } };
    // Fewer chunks than `count` are not the end: one that begins before all of them may reach
    // further.
    if (chunks.length === 0) return;
    for (const chunk of chunks) {
      if (chunk.lastNumber < next) continue; // chunks may overlap
      if (chunk.firstNumber >= end) return;
      // A chunk that was not read may fill the gap before this one.
      if (chunk.firstNumber > next && chunk !== chunks[0]) break;
      yield { chunk, from: Math.max(next, chunk.firstNumber), to: Math.min(end - 1, chunk.lastNumber) };
      next = chunk.lastNumber + 1;
    }
    count = Math.min(CHUNKS_PER_READ_MAX, Math.max(CHUNKS_PER_READ_MIN, count * 2));
  }
}

function* scanBackwards({ sourceId, chunksAtFirst, after, before }: Scanned): Scan {
  let end = before;
  let count = chunksAtFirst;
  while (end === null || end > after + 1) {
    const chunks = yield { place: { sourceId, at: end && end - 1, count } };
    const [held] = chunks;
    if (held === undefined) return;
    end ??= held.lastNumber + 1;
    for (const chunk of chunks) {
      if (chunk.lastNumber <= after) return;
      // A chunk that was not read may fill the gap behind this one.
      if (chunk.lastNumber < end - 1 && chunk !== held) break;
      yield { chunk, from: Math.max(after + 1, chunk.firstNumber), to: Math.min(end - 1, chunk.lastNumber) };
      end = chunk.firstNumber;
    }
    count = Math.min(CHUNKS_PER_READ_MAX, Math.max(CHUNKS_PER_READ_MIN, count * 2));
  }
}
