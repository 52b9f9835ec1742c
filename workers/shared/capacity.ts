import { mayTake } from '../../domain/fair-share.ts';

/**
 * How many items a worker may hold at once, and how many of them each user has. An item that the
 * worker cannot take waits elsewhere.
 */
export interface Capacity {
  readonly free: number;
  /**
   * Takes one place for this user if the user's share allows it (domain/fair-share.ts). Returns
   * whether it did.
   */
  take(userId: string): boolean;
  /** Passes one place from the user `from` to the user `to`. */
  move(from: string, to: string): void;
  /** Gives back one place for each of these users. */
  release(userIds: string[]): void;
  /** The users who may not take another place now. */
  full(): string[];
  /** Resolves when a place is free. Rejects when `signal` aborts. */
  room(signal: AbortSignal): Promise<void>;
  /** Resolves when no place is taken. */
  idle(): Promise<void>;
}

export function createCapacity({
  size,
  perUserMax = size,
  onRelease,
}: {
  size: number;
  perUserMax?: number | undefined;
  /** Called after a release, before the callers that wait for room continue. */
  onRelease: () => void;
}): Capacity {
  const held = new Map<string, number>();
  let free = size;
  let waiting: (() => void)[] = [];

  const count = (userId: string) => held.get(userId) ?? 0;
  const isOpen = (userId: string) => mayTake({ held: count(userId), free, max: perUserMax });

  function add(userId: string, change: 1 | -1): void {
    const now = count(userId) + change;
    if (now <= 0) held.delete(userId);
    else held.set(userId, now);
  }

  function changed(): Promise<void> {
    return new Promise((resolve) => waiting.push(resolve));
  }

  function wakeAll(): void {
    const woken = waiting;
    waiting = [];
    for (const resolve of woken) resolve();
  }

  return {
    get free() {
      return free;
    },
    take(userId) {
      if (!isOpen(userId)) return false;
      add(userId, 1);
      free -= 1;
      return true;
    },
    move(from, to) {
      if (from === to) return;
      add(from, -1);
      add(to, 1);
    },
    release(userIds) {
      if (userIds.length === 0) return;
      for (const userId of userIds) add(userId, -1);
      free += userIds.length;
      onRelease();
      wakeAll();
    },
    full: () => [...held.keys()].filter((userId) => !isOpen(userId)),
    async room(signal) {
      signal.throwIfAborted();
      if (free > 0) return;
      signal.addEventListener('abort', wakeAll);
      while (free === 0 && !signal.aborted) await changed();
      signal.removeEventListener('abort', wakeAll);
      signal.throwIfAborted();
    },
    async idle() {
      while (free < size) await changed();
    },
  };
}
