import type { Consumer } from 'kafkajs';
import type { Logger } from 'pino';

/**
 * A request costs the broker and us as much as a few messages do. What was not committed comes
 * again after a crash, and finds nothing to claim and nothing new to store.
 */
const COMMIT_MS = 250;

/**
 * Commits offsets, one request at a time, at most COMMIT_MS after the first of them. Offsets that
 * arrive meanwhile go with it. No handler waits for a commit.
 */
export interface Commits {
  /** Sets the member that commits from now on. Without one, nothing is sent. */
  use(member: Consumer | undefined): void;
  add(partition: number, offset: string): void;
  /** Forgets a partition that another member now has. A commit would set it back. */
  forget(partition: number): void;
  /** Resolves when nothing is left to commit, or when committing failed. */
  flush(): Promise<void>;
}

export function createCommits(topic: string, log: Logger): Commits {
  const waiting = new Map<number, string>();
  let member: Consumer | undefined;
  let running: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  function start(): Promise<void> {
    running ??= commitAll().finally(() => {
      running = undefined;
    });
    return running;
  }

  async function commitAll(): Promise<void> {
    while (member !== undefined && waiting.size > 0) {
      const offsets = [...waiting].map(([partition, offset]) => ({ topic, partition, offset }));
      waiting.clear();
      try {
        await member.commitOffsets(offsets);
      } catch (error) {
        // These batches may come again, which is harmless. The next commit of their partitions
        // covers them.
        log.debug({ err: error, topic }, 'Offsets were not committed.');
      }
    }
  }

  return {
    use(consumer) {
      member = consumer;
    },
    add(partition, offset) {
      waiting.set(partition, offset);
      timer ??= setTimeout(() => {
        timer = undefined;
        void start();
      }, COMMIT_MS).unref();
    },
    forget(partition) {
      waiting.delete(partition);
    },
    flush() {
      clearTimeout(timer);
      timer = undefined;
      return start();
    },
  };
}
