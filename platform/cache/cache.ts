/**
 * The cache: Redis, or an in-process one. Nothing in it is the truth: all of it may be lost at any
 * instant. While Redis is away, `get`, `set` and `delete` reject within a second.
 */
export interface Cache {
  readonly embedded: boolean;

  get(key: string): Promise<string | undefined>;
  set(key: string, value: string, ttlSeconds: number): Promise<void>;
  delete(key: string): Promise<void>;

  /**
   * A hint to all who are subscribed now. Never rejects: a hint that cannot be sent is lost, and
   * counted.
   */
  publish(channel: string, message: string): Promise<void>;
  /**
   * Resolves when hints published from now on arrive; never rejects. In an outage it resolves at
   * once, and after each outage it subscribes again by itself, then calls `onGap`.
   */
  subscribe(channel: string, onMessage: (message: string) => void, onGap?: () => void): Promise<Unsubscribe>;

  /**
   * Takes one of `points` that `key` has in each window of `windowSeconds`; 0 when it may go on,
   * else the seconds to wait. While Redis is away each process counts for itself.
   */
  limit(key: string, points: number, windowSeconds: number): Promise<number>;

  isUp(): Promise<boolean>;
  close(): Promise<void>;
}

export type Unsubscribe = () => void;
