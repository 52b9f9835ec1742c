import { LRUCache } from 'lru-cache';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import type { Cache } from './cache.ts';
import { createLimits } from './limits.ts';

const ENTRIES_MAX = 10_000;
const BYTES_MAX = 32 * 1024 * 1024;

/** The cache within one process. */
export function createMemoryCache(): Cache {
  const entries = new LRUCache<string, string>({
    max: ENTRIES_MAX,
    maxSize: BYTES_MAX,
    sizeCalculation: (value, key) => value.length + key.length + 1,
  });
  const listeners = new Map<string, Set<(message: string) => void>>();
  const limits = createLimits((options) => new RateLimiterMemory(options));
  let closed = false;

  return {
    embedded: true,

    async get(key) {
      return entries.get(key);
    },

    async set(key, value, ttlSeconds) {
      entries.set(key, value, { ttl: ttlSeconds * 1_000 });
    },

    async delete(key) {
      entries.delete(key);
    },

    async publish(channel, message) {
      for (const listen of listeners.get(channel) ?? []) queueMicrotask(() => listen(message));
    },

    async subscribe(channel, onMessage) {
      // A new function each time, so that the same callback may listen twice.
      const listen = (message: string) => onMessage(message);
      const all = listeners.get(channel) ?? new Set();
      listeners.set(channel, all.add(listen));
      return () => {
        all.delete(listen);
        if (all.size === 0 && listeners.get(channel) === all) listeners.delete(channel);
      };
    },

    ...limits,

    async isUp() {
      return !closed;
    },

    async close() {
      closed = true;
      listeners.clear();
      entries.clear();
    },
  };
}
