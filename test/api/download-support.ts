import { type IncomingHttpHeaders, request } from 'node:http';
import type { Readable } from 'node:stream';
import { constants, createGunzip } from 'node:zlib';
import { eq } from 'drizzle-orm';
import { insertChunks } from '../../db/logs/append.ts';
import { jobs } from '../../db/schema.ts';
import { encodeChanged, userChannel } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { encodeChunks, formatLine, type LogChunk, packLines } from '../../domain/logs/chunk.ts';
import type { Person, TestApi } from './support.ts';

/** A job of the person's that runs: only its row, which is all that a log needs. */
export async function runningJob({ db }: Pick<TestApi, 'db'>, { id: userId }: Person): Promise<string> {
  const id = newId();
  await db.insert(jobs).values({
    id,
    workflowId: newId(),
    userId,
    kind: 'CONTAINER',
    trigger: 'MANUAL',
    status: 'RUNNING',
    generation: 1,
    attempt: 1,
    scheduledAt: new Date(),
    startedAt: new Date(),
    leaseToken: newId(),
  });
  return id;
}

export async function endJob(
  { db, cache }: Pick<TestApi, 'db' | 'cache'>,
  { id: userId }: Person,
  id: string,
  logLineCount: number,
): Promise<void> {
  await db
    .update(jobs)
    .set({ status: 'COMPLETED', completedAt: new Date(), leaseToken: null, logLineCount })
    .where(eq(jobs.id, id));
  await cache.publish(userChannel(userId), encodeChanged({ jobs: [id] }));
}

/** A chunk of lines "line 1 é", "line 2 é"; those with even numbers on STDERR. */
export async function numberedChunk(sourceId: string, firstNumber: number, lastNumber: number): Promise<LogChunk> {
  const lines = Array.from({ length: lastNumber - firstNumber + 1 }, (_, n) =>
    formatLine(
      (firstNumber + n) % 2 ? 'STDOUT' : 'STDERR',
      '2026-01-01T00:00:00.000000001Z',
      `line ${firstNumber + n} é`,
    ),
  );
  return { sourceId, attempt: 1, firstNumber, lastNumber, lines: await packLines(Buffer.from(lines.join(''))) };
}

/** The text of such lines. */
export function numberedText(firstNumber: number, lastNumber: number): string {
  return Array.from({ length: lastNumber - firstNumber + 1 }, (_, n) => `line ${firstNumber + n} é\n`).join('');
}

/** As a worker prints them and the joblogs worker stores them. */
export async function print({ db, bus }: Pick<TestApi, 'db' | 'bus'>, ...chunks: LogChunk[]): Promise<void> {
  for (const chunk of chunks) {
    await bus.publish('job_logs', [{ key: chunk.sourceId, value: encodeChunks([chunk]) }]);
    await insertChunks(db, [chunk]);
  }
}

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  /** What has come so far, unpacked. */
  received(): string;
  /** The same as bytes. */
  bytes(): Buffer;
  /** Resolves when `text` is the end of what has come. */
  endsWith(text: string): Promise<void>;
  /** All of it. Rejects where the answer is cut short. */
  whole(): Promise<string>;
  /** Goes away. */
  leave(): void;
  /** The connection's stream, to be paused. */
  stream: Readable;
}

const DEADLINE_MS = 20_000;

/** Asks for `path` as a client that sees each byte when it comes, and whether the answer was ended or cut. */
export function ask(
  api: { url: string },
  path: string,
  { token, method = 'GET', headers = {} }: { token?: string; method?: string; headers?: Record<string, string> } = {},
): Promise<Reply> {
  const authorization: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return new Promise((resolve, reject) => {
    const sent = request(new URL(path, api.url), { method, headers: { ...authorization, ...headers }, agent: false });
    sent.once('error', reject);
    sent.once('response', (response) => {
      const gzip = response.headers['content-encoding'] === 'gzip';
      const body = gzip ? response.pipe(createGunzip({ finishFlush: constants.Z_SYNC_FLUSH })) : response;
      const pieces: Buffer[] = [];
      const bytes = () => Buffer.concat(pieces);
      const received = () => bytes().toString('utf8');
      const listeners = new Set<() => void>();
      const end = new Promise<void>((resolveEnd, rejectEnd) => {
        body.once('end', resolveEnd);
        response.once('error', rejectEnd);
        body.once('error', rejectEnd);
      });
      end.catch(() => undefined);
      body.on('data', (piece: Buffer) => {
        pieces.push(piece);
        for (const listener of listeners) listener();
      });
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        received,
        bytes,
        endsWith: (text) =>
          withDeadline(
            new Promise((resolveText) => {
              const look = () => {
                if (received().endsWith(text)) resolveText();
              };
              listeners.add(look);
              look();
            }),
          ),
        whole: async () => {
          await withDeadline(end);
          return received();
        },
        leave: () => sent.destroy(),
        stream: body,
      });
    });
    sent.end();
  });
}

async function withDeadline<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`It did not come within ${DEADLINE_MS} ms.`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
