import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { lastLineNumbers } from '../../db/lookup.ts';
import { decodeChunks, encodeChunks, endMarker, isMarker } from '../../domain/logs/chunk.ts';
import { startRepeating } from '../../platform/async/repeat.ts';
import type { Bus, Tail } from '../../platform/bus/bus.ts';
import type { LogFollower } from './follower.ts';
import { SharedChunk } from './shared-chunk.ts';

/**
 * Live chunks, for all subscribers of the process: one tail of `job_logs` that is asked only for what somebody follows. What is missed,
 * because the bus is away or this process too slow, is in the store: a slow look at the last stored line of all that is followed, by
 * one query, sends those there who have not got it.
 */
export interface LogFeed {
  /** From now on the follower is given live chunks. Undo with what is returned. */
  join(sourceId: string, follower: LogFollower): () => void;
  /** The log of this ended job or build has an open end: the end is printed on the bus, again and again while somebody asks. */
  askForEnd(sourceId: string): void;
  close(deadline: AbortSignal): Promise<void>;
}

export function createLogFeed({ bus, db, log }: { bus: Bus; db: Db; log: Logger }): LogFeed {
  const followers = new Map<string, Set<LogFollower>>();
  const asked = new Set<string>(); // not long ago
  let closed = false;
  let tail: Tail | undefined;
  let retry: NodeJS.Timeout | undefined;

  function onMessage(value: Buffer): void {
    for (const entry of decodeChunks(value)) {
      const following = followers.get(entry.sourceId);
      if (!following) continue;
      if (isMarker(entry)) {
        for (const follower of following) follower.reached(entry);
        continue;
      }
      const shared = new SharedChunk({ ...entry, lines: Buffer.from(entry.lines) }); // a copy frees the rest of the message
      for (const follower of following) follower.push(shared);
    }
  }

  function readAll(): void {
    for (const following of followers.values()) for (const follower of following) follower.readStore();
  }

  async function connect(): Promise<void> {
    const opened = await bus.tail({ topic: 'job_logs', onMessage, onGap: readAll });
    if (closed) return opened.close();
    tail = opened;
    for (const [sourceId, following] of followers) for (const _ of following) watch(opened, sourceId);
  }

  function start(): void {
    connect().catch((error: unknown) => {
      log.warn({ err: error }, 'Log lines cannot be followed live; they come from the store until they can.');
      if (!closed) retry = setTimeout(start, TAIL_RETRY_MS).unref();
    });
  }

  /** What was produced before the watch holds is in the store, or comes there. */
  function watch(opened: Tail, sourceId: string): void {
    opened.watch(sourceId).then(
      () => {
        for (const follower of followers.get(sourceId) ?? []) follower.readStore();
      },
      (error: unknown) =>
        log.warn({ err: error, sourceId }, 'Log lines cannot be followed live; they come from the store.'),
    );
  }

  async function recheck(): Promise<void> {
    const ids = [...followers.keys()];
    if (ids.length === 0) return;
    const last = await lastLineNumbers(db, ids);
    for (const [sourceId, number] of last)
      for (const follower of followers.get(sourceId) ?? []) follower.isStored(number);
  }

  const stopRechecking = startRepeating(
    { log, what: 'The re-check of followed logs', everyMs: RECHECK_MS, maxMs: RECHECK_MS, waitsFirst: true },
    recheck,
  );
  const again = setInterval(() => asked.clear(), ASK_AGAIN_MS).unref();
  start();

  return {
    join(sourceId, follower) {
      const following = followers.get(sourceId) ?? new Set();
      followers.set(sourceId, following.add(follower));
      const watched = tail;
      if (watched) watch(watched, sourceId);
      return () => {
        if (!following.delete(follower)) return;
        if (following.size === 0) followers.delete(sourceId);
        tail?.unwatch(sourceId);
      };
    },
    askForEnd(sourceId) {
      if (asked.has(sourceId)) return;
      asked.add(sourceId);
      bus
        .publish('job_logs', [{ key: sourceId, value: encodeChunks([endMarker(sourceId)]) }])
        .catch((error: unknown) =>
          log.warn({ err: error, sourceId }, 'The end of a log could not be asked for; it is again soon.'),
        );
    },
    async close(deadline) {
      closed = true;
      void stopRechecking(); // a query that is under way ends by itself
      clearInterval(again);
      clearTimeout(retry);
      await tail?.close(deadline);
    },
  };
}

const RECHECK_MS = 2_000;
const ASK_AGAIN_MS = 10_000; // whoever stores lines may be away for long
const TAIL_RETRY_MS = 5_000;
