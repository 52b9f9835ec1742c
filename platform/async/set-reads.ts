/**
 * Reads values by their keys. A lone question is read at once; what is asked while a read is under
 * way is read next, in one set. A read begins after its questions, and nothing is kept: no answer
 * is older than its question. A read that fails fails its own questions. One that takes longer than
 * SLOW_MS holds up nobody: another one begins beside it.
 */
export function setReads<Value>(
  read: (keys: string[]) => Promise<(key: string) => Value>,
): (key: string) => Promise<Value> {
  let asked: Question<Value>[] = [];
  let underWay = 0;
  let isScheduled = false;
  let slow: NodeJS.Timeout | undefined;

  function schedule(): void {
    if (isScheduled || asked.length === 0) return;
    if (underWay === 0) {
      isScheduled = true;
      setImmediate(start); // after the other questions in this turn of the event loop
    } else if (underWay < READS_AT_ONCE) slow ??= setTimeout(start, SLOW_MS);
  }

  function start(): void {
    isScheduled = false;
    clearTimeout(slow);
    slow = undefined;
    const set = asked.slice(0, SET_MAX);
    asked = asked.slice(SET_MAX);
    if (set.length === 0) return;
    underWay += 1;
    void answer(set).finally(() => {
      underWay -= 1;
      schedule();
    });
    schedule();
  }

  async function answer(questions: Question<Value>[]): Promise<void> {
    try {
      const find = await read([...new Set(questions.map(({ key }) => key))]);
      for (const { key, resolve } of questions) resolve(find(key));
    } catch (error) {
      for (const { reject } of questions) reject(error);
    }
  }

  return (key) =>
    new Promise((resolve, reject) => {
      asked.push({ key, resolve, reject });
      schedule();
    });
}

interface Question<Value> {
  key: string;
  resolve(value: Value): void;
  reject(error: unknown): void;
}

const SET_MAX = 1_000;
const READS_AT_ONCE = 2;
/** Beginning at once took two to three times as many statements where many came at once. */
const SLOW_MS = 10;
