/**
 * The cache: Redis, or an in-process one. It never holds the only copy: all of it may be lost at
 * any moment. While Redis is away, `get`, `set` and `delete` reject within a second.
 */
export interface Cache {
  readonly embedded: boolean;

  get(key: string): Promise<string | undefined>;
  set(key: string, value: string, ttlSeconds: number): Promise<void>;
  delete(key: string): Promise<void>;

  /**
   * Sends a hint to all present subscribers. Never rejects. A hint that cannot be sent is lost, and
   * counted.
   */
  publish(channel: string, message: string): Promise<void>;
  /**
   * Once it resolves, later hints arrive. It never rejects. During an outage it resolves at once.
   * After each outage it subscribes again by itself, then calls `onGap`.
   */
  subscribe(channel: string, onMessage: (message: string) => void, onGap?: () => void): Promise<Unsubscribe>;

  /**
   * Takes one of the `points` that `key` has in each window of `windowSeconds`. Returns 0 if the
   * caller may go on, else the seconds to wait. While Redis is away, each process counts for
   * itself.
   */
  limit(key: string, points: number, windowSeconds: number): Promise<number>;
  /** Gives back a point that `limit` took for the same key, points and window. */
  unlimit(key: string, points: number, windowSeconds: number): Promise<void>;

  isUp(): Promise<boolean>;
  close(): Promise<void>;
}

export type Unsubscribe = () => void;
