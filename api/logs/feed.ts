import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { lastLineNumbers } from '../../db/lookup.ts';
import { decodeChunks, encodeChunks, endMarker, isMarker } from '../../domain/logs/chunk.ts';
import { startRepeating } from '../../platform/async/repeat.ts';
import type { Bus, Tail } from '../../platform/bus/bus.ts';
import { LogFollower } from './follower.ts';
import { createLogStore, SharedChunk } from './store.ts';

/**
 * Live chunks for all subscribers of the process. One tail of `job_logs` asks only for logs that
 * have a subscriber. Chunks can pass it by, because the bus is away or this process is too slow;
 * the store has them. Every RECHECK_MS one query for all followed logs finds followers that lack
 * the last stored line and sends them to the store.
 */
export interface LogFeed {
  /**
   * A follower of this log that begins behind line `after`. It reads the store, and live chunks too
   * once it has joined.
   */
  follower(sourceId: string, after: number, onIdle?: () => void): LogFollower;
  /** Gives the follower live chunks from now on. Call the returned function to leave. */
  join(sourceId: string, follower: LogFollower): () => void;
  /**
   * Publishes the end-of-log marker of a log that is still open although its job or build has
   * ended. Does nothing if it did so within the last ASK_AGAIN_MS.
   */
  askForEnd(sourceId: string): void;
  close(deadline: AbortSignal): Promise<void>;
}

export function createLogFeed({ bus, db, log }: { bus: Bus; db: Db; log: Logger }): LogFeed {
  const followers = new Map<string, Set<LogFollower>>();
  const asked = new Set<string>(); // cleared every ASK_AGAIN_MS
  const store = createLogStore(db, log);
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
      // The copy lets the rest of the message be freed.
      const shared = new SharedChunk({ ...entry, lines: Buffer.from(entry.lines) });
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

  /** Chunks from before the watch takes effect are in the store or on their way there. */
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
    follower: (sourceId, after, onIdle) =>
      new LogFollower(after, { read: (number, count) => store.read(sourceId, number, count), now: store.now }, onIdle),
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
          log.warn({ err: error, sourceId }, 'The end of a log could not be asked for; it is tried again soon.'),
        );
    },
    async close(deadline) {
      closed = true;
      void stopRechecking(); // a query that runs now ends by itself
      clearInterval(again);
      clearTimeout(retry);
      await tail?.close(deadline);
    },
  };
}

const RECHECK_MS = 2_000;
const ASK_AGAIN_MS = 10_000; // the joblogs worker may be away for long
const TAIL_RETRY_MS = 5_000;
