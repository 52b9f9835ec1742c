import type { Consumer } from 'kafkajs';
import type { Logger } from 'pino';

/**
 * Commits offsets one request at a time: what is handled while one is under way goes with the next.
 * No handler waits for it.
 */
export interface Commits {
  /** The member that commits from now on; with none, nothing is sent. */
  use(member: Consumer | undefined): void;
  add(partition: number, offset: string): void;
  /** The partition is another's: it would be set back. */
  forget(partition: number): void;
  /** Resolves when nothing is left to commit, or committing failed. */
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
        // These batches may come again, which is harmless; the next commit of their partitions
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
