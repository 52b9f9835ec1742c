import { defaultDeadline } from '../async/deadline.ts';
import type { Closable } from './bus.ts';
import { batchLength, type PartitionRunner, type Source } from './partition-runner.ts';
import { PARTITIONS } from './partitions.ts';

export interface Entry {
  partition: number;
  value: Buffer;
  /** Called once the group has handled it. */
  handled: () => void;
}

/**
 * One group of consumers on one in-process topic: its queues, and which member has which partition.
 */
export interface MemoryGroup {
  /** If more than `max` entries wait in a partition, the oldest are dropped. */
  push(entries: Entry[], max?: number): void;
  /** How many were dropped since the queues were last empty. */
  readonly dropped: number;
  join(start: (source: Source<Entry>) => PartitionRunner): Closable;
  close(deadline: AbortSignal): Promise<void>;
}

export function createMemoryGroup(): MemoryGroup {
  const queues = Array.from({ length: PARTITIONS }, (): Entry[] => []);
  // A member that has lost the partition but has not returned yet keeps it busy too.
  const busy = new Set<number>();
  const members: PartitionRunner[] = [];
  let dropped = 0;

  function ownerOf(partition: number): PartitionRunner | undefined {
    return members[partition % members.length];
  }

  /**
   * Runs `change`, which adds or removes a member. Then drops the partitions of the members that
   * lost them, and wakes the new owners.
   */
  function reassign(change: () => void): void {
    const before = queues.map((_, partition) => ownerOf(partition));
    change();
    for (const [partition, owner] of before.entries()) {
      if (owner === ownerOf(partition)) continue;
      owner?.drop(partition);
      ownerOf(partition)?.wake(partition);
    }
  }

  function release(partition: number): void {
    busy.delete(partition);
    ownerOf(partition)?.wake(partition);
  }

  return {
    push(entries, max = Number.POSITIVE_INFINITY) {
      if (queues.every((queue) => queue.length === 0)) dropped = 0;
      for (const entry of entries) queues[entry.partition]?.push(entry);
      for (const partition of new Set(entries.map((entry) => entry.partition))) {
        const queue = queues[partition] ?? [];
        if (queue.length > max) dropped += queue.splice(0, queue.length - max).length;
        ownerOf(partition)?.wake(partition);
      }
    },

    get dropped() {
      return dropped;
    },

    join(start) {
      let self: PartitionRunner | undefined;
      const runner = start({
        take(partition) {
          const queue = queues[partition];
          if (queue === undefined || busy.has(partition) || ownerOf(partition) !== self) return [];
          const batch = queue.splice(0, batchLength(queue));
          if (batch.length > 0) busy.add(partition);
          return batch;
        },
        handled(partition, batch) {
          for (const entry of batch) entry.handled();
          release(partition);
        },
        putBack(partition, batch) {
          queues[partition]?.unshift(...batch);
          release(partition);
        },
      });
      self = runner;
      reassign(() => members.push(runner));
      return {
        async close(deadline = defaultDeadline()) {
          // Closes the runner first, so that no other member handles again what finishes now.
          await runner.close(deadline);
          if (members.includes(runner)) reassign(() => members.splice(members.indexOf(runner), 1));
        },
      };
    },

    async close(deadline) {
      await Promise.all(members.map((member) => member.close(deadline)));
    },
  };
}
