import type { Consumer } from 'kafkajs';
import type { Logger } from 'pino';

/**
 * Commits offsets, one request at a time. Offsets that arrive during a request go with the next
 * one. No handler waits for a commit.
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
      void start();
    },
    forget(partition) {
      waiting.delete(partition);
    },
    flush: start,
  };
}
