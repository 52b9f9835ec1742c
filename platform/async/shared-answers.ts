import { LRUCache } from 'lru-cache';

/** An answer that is this young serves everybody, whenever the question came up. */
const FRESH_MS = 1_000;
const KEYS_MAX = 64;

/**
 * Lets many callers share the answer to a question about the present state of something. Each says
 * since when the answer must hold (performance.now()): one that was asked for since then, or in the
 * last second, serves. So a thousand callers at once cost one question. `ask` must not reject.
 */
export function sharedAnswers<T>(ask: (key: string) => Promise<T>): (key: string, since: number) => Promise<T> {
  const asked = new LRUCache<string, { at: number; answer: Promise<T> }>({ max: KEYS_MAX });
  return (key, since) => {
    const now = performance.now();
    const known = asked.get(key);
    if (known !== undefined && known.at >= Math.min(since, now - FRESH_MS)) return known.answer;
    const answer = ask(key);
    asked.set(key, { at: now, answer });
    return answer;
  };
}
