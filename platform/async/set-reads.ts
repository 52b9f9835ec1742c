import { createBatcher } from './batcher.ts';

/**
 * Reads values by their keys. A lone question is read at once; what is asked while reads are under
 * way is read next, in one set. A read begins after its questions, and nothing is kept: no answer
 * is older than its question. A read that fails fails its own questions.
 */
export function setReads<Value>(
  read: (keys: string[]) => Promise<(key: string) => Value>,
): (key: string) => Promise<Value> {
  const asked = createBatcher<Question<Value>>({
    sizeMax: SET_MAX,
    inFlightMax: SETS_AT_ONCE,
    async write(questions) {
      try {
        const find = await read([...new Set(questions.map(({ key }) => key))]);
        for (const { key, resolve } of questions) resolve(find(key));
      } catch (error) {
        for (const { reject } of questions) reject(error);
      }
    },
  });
  return (key) => new Promise((resolve, reject) => asked.add({ key, resolve, reject }));
}

interface Question<Value> {
  key: string;
  resolve(value: Value): void;
  reject(error: unknown): void;
}

const SET_MAX = 1_000;
/** One that is stuck holds up nobody. */
const SETS_AT_ONCE = 2;
