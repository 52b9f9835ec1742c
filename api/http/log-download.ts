import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { constants, createGzip } from 'node:zlib';
import type { GraphQLError } from 'graphql';
import { lastLogNumber } from '../../db/logs/read.ts';
import type { BuildRow, JobRow } from '../../db/schema.ts';
import { plainTextUtf8 } from '../../domain/logs/decode.ts';
import { terminalSafe } from '../../domain/logs/terminal-safe.ts';
import { mapped } from '../../platform/async/iterator.ts';
import { type Context, type Services, viewerOf } from '../context.ts';
import { failure } from '../errors.ts';
import type { Transport } from '../graphql/transport.ts';
import type { Graphql } from '../graphql/yoga.ts';
import type { Loaders } from '../loaders.ts';
import type { Batch } from '../logs/batch.ts';
import { logCursor } from '../logs/cursor.ts';
import { isGone } from '../logs/retention.ts';
import { followLog, readLog } from '../logs/stream.ts';
import { type DownloadQuery, NDJSON, negotiate, parseDownloadQuery, TEXT } from './log-download-request.ts';
import { retryAfter, sendJson } from './messages.ts';
import { ndjsonWriter } from './ndjson.ts';
import { onClosed } from './request-places.ts';

/** The id in the path of a log, or undefined for other paths. A malformed id is an unknown one. */
export function logIdOf(path: string): string | undefined {
  return /^\/logs\/([^/]+)$/.exec(path)?.[1];
}

/**
 * GET /logs/ID: the whole log of a job or a build as text or NDJSON, up to its current end, or live
 * to the end of the job. Access is the same as in GraphQL. A log that is cut short lacks HTTP's end
 * of the body, so that no client takes it for whole.
 */
export async function downloadLog(
  request: IncomingMessage,
  response: ServerResponse,
  asked: string,
  transport: Transport,
  services: Services,
  { contextOf, maskError }: Graphql,
): Promise<void> {
  response.appendHeader('vary', 'Accept, Accept-Encoding');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    return sendJson(response, 405, { message: `A log can only be read: by GET or HEAD, not ${request.method}.` });
  }
  const { type, gzip } = negotiate(request);
  if (type === undefined) {
    return sendJson(response, 406, {
      message: `A log comes as text/plain in UTF-8 or as ${NDJSON}: accept one of them.`,
    });
  }
  const stop = new AbortController();
  onClosed(response, () => stop.abort());
  response.on('error', () => stop.abort()); // a write failed because the client left
  let download: Download;
  let release: () => void = () => undefined;
  try {
    const query = parseDownloadQuery(request);
    await transport.turn?.begin(0);
    const context = await contextOf(transport);
    const { follow } = query;
    release = services.streams.openOverHttp(
      // Counted before the lookup, so that of many at once none gets past the limit.
      { viewer: viewerOf(context), address: transport.client.address },
      (reason) => {
        // A shutdown lets stored logs finish within the time that requests have.
        if (reason === 'TOKEN' || follow) stop.abort();
      },
    );
    download = await openDownload(context, asked, query);
  } catch (error) {
    release();
    return refuse(response, maskError(error));
  } finally {
    transport.turn?.end();
  }
  const { id, follow, end } = download;
  response.writeHead(200, {
    'content-type': type,
    'content-disposition': `inline; filename="${id}.${type === TEXT ? 'log' : 'ndjson'}"`,
    ...(gzip ? { 'content-encoding': 'gzip' } : {}),
    ...(end === undefined ? {} : { 'log-cursor': logCursor(id, end) }),
    ...(follow ? { 'x-accel-buffering': 'no' } : {}), // a proxy must not buffer a live log
  });
  if (request.method === 'HEAD') {
    release();
    response.end();
    return;
  }
  response.flushHeaders();
  // Nothing else detects a dead peer while nothing is printed.
  if (follow) request.socket.setKeepAlive(true, KEEP_ALIVE_MS);

  const sink = gzip ? createGzip(GZIP) : response;
  if (sink !== response) sink.on('error', () => stop.abort()).pipe(response);
  try {
    await writeAll(bytesOf(download, type), sink, stop.signal);
    if (await download.isWhole()) return void sink.end();
    services.log.warn({ id }, 'Lines of a log that is downloaded are not there (any more): it is cut.');
  } catch (error) {
    if (!stop.signal.aborted) maskError(error); // which logs it
  } finally {
    release();
  }
  cut(request, response);
  sink.destroy();
}

const KEEP_ALIVE_MS = 30_000;
// A client can unpack each batch as it arrives.
const GZIP = { level: constants.Z_BEST_SPEED, flush: constants.Z_SYNC_FLUSH };

interface Download extends DownloadQuery {
  id: string;
  batches: AsyncGenerator<Batch, void, undefined>;
  /** The number of the last line, if it is known beforehand. */
  end?: number;
  /** After `batches` has ended: whether it reached the last line. */
  isWhole(): Promise<boolean>;
}

/** Throws what GraphQL throws: a caller who may not see a log learns only that there is none. */
async function openDownload(context: Context, asked: string, query: DownloadQuery): Promise<Download> {
  const { services, load } = context;
  const { db } = services;
  viewerOf(context);
  const row = await rowOf(load, asked);
  if (!row) throw failure('NOT_FOUND', 'You have no job and no build with this id.');
  const { id } = row;
  if (query.after === undefined && (await isGone(db, row)))
    throw failure('GONE', `Retention has removed the ${row.logLineCount} lines of this log.`);
  const opened = query.follow ? await followLog(services, row, query.after) : await readLog(services, row, query.after);
  let reached = opened.after;
  const batches = mapped(opened.batches, (batch) => {
    reached = batch.lastNumber;
    return batch;
  });
  const { last } = opened;
  if (last !== undefined) return { ...query, id, batches, end: last, isWhole: async () => reached >= last };
  const isWhole = async () => {
    const ended = await rowOf(load, id); // no row: it was purged meanwhile
    if (!ended?.completedAt) return false;
    // Retention has removed all of an old log.
    return reached >= ended.logLineCount || (await lastLogNumber(db, id)) === 0;
  };
  return { ...query, id, batches, isWhole };
}

async function rowOf(load: Loaders, id: string): Promise<JobRow | BuildRow | undefined> {
  const [job, build] = await Promise.all([load.job(id), load.build(id)]);
  return job ?? build;
}

/**
 * Writes at the pace of the client, and does not end the response. Rejects when `signal` aborts.
 */
async function writeAll(
  pieces: AsyncGenerator<Buffer, void, undefined>,
  sink: Writable,
  signal: AbortSignal,
): Promise<void> {
  const leave = () => void pieces.return().catch(() => undefined); // the loop below throws the same
  signal.addEventListener('abort', leave, { once: true });
  signal.throwIfAborted(); // it may have aborted before anything began
  for await (const piece of pieces) {
    signal.throwIfAborted();
    if (sink.write(piece))
      await nextTurn(); // others are served between two pieces
    else await once(sink, 'drain', { signal });
  }
  signal.throwIfAborted();
}

/**
 * The bytes of each batch in one piece, so that a client that does not read costs only a few of
 * them.
 */
function bytesOf(
  { id, batches, stream, raw }: Download,
  type: typeof TEXT | typeof NDJSON,
): AsyncGenerator<Buffer, void, undefined> {
  const ndjson = ndjsonWriter(id);
  return mapped(batches, async ({ slices, lastNumber }) => {
    const parts = slices.map(async ({ chunk, from }) => {
      const range = { skip: from - chunk.firstNumber, end: lastNumber + 1 - chunk.firstNumber, stream };
      const lines = await chunk.lines();
      if (type === NDJSON) return ndjson(lines, chunk, range);
      const text = plainTextUtf8(lines, range);
      return raw ? text : terminalSafe(text);
    });
    const [first, ...others] = await Promise.all(parts);
    const bytes = first && others.length > 0 ? Buffer.concat([first, ...others]) : first;
    return bytes?.length === 0 ? undefined : bytes;
  });
}

function refuse(response: ServerResponse, error: GraphQLError): void {
  const { message, extensions } = error;
  const status = STATUS.get(extensions.code) ?? 500;
  retryAfter(response, error);
  sendJson(response, status, { message, ...('requestId' in extensions ? { requestId: extensions.requestId } : {}) });
}

const STATUS = new Map<unknown, number>([
  ['BAD_REQUEST', 400],
  ['UNAUTHENTICATED', 401],
  ['FORBIDDEN', 403],
  ['NOT_FOUND', 404],
  ['GONE', 410],
  ['RATE_LIMITED', 429],
  ['UNAVAILABLE', 503],
]);

/**
 * Breaks the connection so that the client knows that the log is incomplete. HTTP/1.0 has only a
 * reset for that.
 */
function cut(request: IncomingMessage, response: ServerResponse): void {
  if (request.httpVersion === '1.0') response.socket?.resetAndDestroy();
  response.destroy();
}
