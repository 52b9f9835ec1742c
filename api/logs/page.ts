import type { Db } from '../../db/client.ts';
import { chunksAfter, chunksBefore, lastLogNumber } from '../../db/logs/read.ts';
import { CHUNK_BYTES_MAX } from '../../domain/limits.ts';
import type { LogChunk } from '../../domain/logs/chunk.ts';
import { type LogFilter, lineSelector } from '../../domain/logs/filter.ts';
import type { LogLine } from '../../domain/logs/line.ts';
import { unpackedBytes, unpackLines } from '../../domain/logs/packing.ts';
import { characterCount } from '../../domain/text.ts';
import type { AnswerBudget } from '../answer-budget.ts';
import { failure } from '../errors.ts';
import { type Page, type PagingArgs, pageSize } from '../paging.ts';
import { logCursor } from './cursor.ts';
import { type LogSource, placesOf } from './retention.ts';

export const LOG_PAGE_SIZE = 100;
export const LOG_PAGE_SIZE_MAX = 1_000;
export const SEARCH_LENGTH_MAX = 1_000;

/**
 * One page of a stored log. It reads a bounded part of the log. So a page may have fewer lines than
 * requested, or none; it then says that there is more and where to continue.
 */
export async function logPage(
  db: Db,
  source: LogSource,
  args: PagingArgs & LogFilter,
  budget: AnswerBudget,
): Promise<Page<LogLine>> {
  await budget.logPages.acquire();
  try {
    return await readPage(db, source, args, budget);
  } finally {
    budget.logPages.release();
  }
}

async function readPage(
  db: Db,
  source: LogSource,
  args: PagingArgs & LogFilter,
  budget: AnswerBudget,
): Promise<Page<LogLine>> {
  const { id: sourceId } = source;
  const { count, backwards } = pageSize(args, LOG_PAGE_SIZE, LOG_PAGE_SIZE_MAX);
  refuseBadSearch(args.search);
  const bounds = await boundsOf(db, source, args, backwards);
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
  const scan = (backwards ? scanBackwards : scanForwards)(db, sourceId, bounds);
  const select = lineSelector(args);
  let more = false;
  let scanned = 0;
  let chunks = 0;
  for await (const { chunk, from, to } of scan) {
    if (scanned > SCAN_BYTES_MAX || chunks === SCAN_CHUNKS_MAX) {
      more = true;
      break;
    }
    scanned += unpackedBytes(chunk.lines);
    chunks += 1;
    const selected = select(await unpackLines(chunk.lines), chunk.firstNumber, chunk.attempt);
    const wanted = selected.filter(({ number }) => number >= from && number <= to);
    if (!take(backwards ? wanted.reverse() : wanted)) {
      more = true;
      break;
    }
    reached = backwards ? from : to;
  }
  const end = reached === undefined ? undefined : logCursor(sourceId, reached);
  if (backwards) lines.reverse();
  return {
    edges: lines.map((node) => ({ cursor: logCursor(sourceId, node.number), node })),
    hasNextPage: backwards ? typeof args.before === 'string' : more,
    hasPreviousPage: backwards ? more : bounds.after >= bounds.first,
    ...(more && end ? (backwards ? { startCursor: end } : { endCursor: end }) : {}),
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
  before: number;
  /** The first line that is stored. */
  first: number;
}

async function boundsOf(db: Db, source: LogSource, args: PagingArgs, backwards: boolean): Promise<Bounds> {
  const hasCursor = typeof args.after === 'string' || typeof args.before === 'string';
  const { after = 0, before, first = 1 } = hasCursor ? await placesOf(db, source, args) : {};
  const end = async () => (backwards ? (await lastLogNumber(db, source.id)) + 1 : Number.POSITIVE_INFINITY);
  return { after, before: before ?? (await end()), first };
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

async function* scanForwards(db: Db, sourceId: string, { after, before }: Bounds): AsyncGenerator<Span> {
  let next = after + 1;
  let count = CHUNKS_PER_READ_MIN;
  while (next < before) {
    const chunks = await chunksAfter(db, sourceId, next - 1, count);
    // Fewer chunks than `count` are not the end: one that begins before all of them may reach
    // further.
    if (chunks.length === 0) return;
    for (const chunk of chunks) {
      if (chunk.lastNumber < next) continue; // chunks may overlap
      if (chunk.firstNumber >= before) return;
      // A chunk that was not read may fill the gap before this one.
      if (chunk.firstNumber > next && chunk !== chunks[0]) break;
      yield { chunk, from: Math.max(next, chunk.firstNumber), to: Math.min(before - 1, chunk.lastNumber) };
      next = chunk.lastNumber + 1;
    }
    count = Math.min(CHUNKS_PER_READ_MAX, count * 2);
  }
}

async function* scanBackwards(db: Db, sourceId: string, { after, before }: Bounds): AsyncGenerator<Span> {
  let end = before;
  let count = CHUNKS_PER_READ_MIN;
  while (end > after + 1) {
    const chunks = await chunksBefore(db, sourceId, end, count);
    if (chunks.length === 0) return;
    for (const chunk of chunks) {
      if (chunk.lastNumber <= after) return;
      // A chunk that was not read may fill the gap behind this one.
      if (chunk.lastNumber < end - 1 && chunk !== chunks[0]) break;
      yield { chunk, from: Math.max(after + 1, chunk.firstNumber), to: Math.min(end - 1, chunk.lastNumber) };
      end = chunk.firstNumber;
    }
    count = Math.min(CHUNKS_PER_READ_MAX, count * 2);
  }
}
