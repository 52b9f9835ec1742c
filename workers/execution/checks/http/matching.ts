import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import type { Run } from '../run.ts';

/** How much of a text is tried. An expression takes 0.25 microseconds a character, rarely 50. */
export const MATCHED_CHARACTERS_MAX = 256 * 1024;
const MATCH_MS_MAX = 1_000;
const THREAD_MB_MAX = 256;

/** Compiles each time: most checks run once a minute. */
const THREAD = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { RE2JS } = require(workerData);
  parentPort.on('message', ({ pattern, text }) => parentPort.postMessage(RE2JS.compile(pattern).matcher(text).find()));
  parentPort.postMessage('ready');
`;

interface Task {
  userId: string;
  pattern: string;
  text: string;
  /** Its turn has come. */
  begin: () => void;
  resolve: (found: boolean | undefined) => void;
  reject: (error: Error) => void;
}

let thread: { worker: Worker; isReady: boolean } | undefined;
let current: Task | undefined;
let timer: NodeJS.Timeout | undefined;
/** By user, who take turns: the expressions of one may all be slow. */
const waiting = new Map<string, Task[]>();
const SLOW_USERS_MAX = 10_000;
/** Those whose last expression took too long. They come after all others. */
const slowUsers = new LRUCache<string, true>({ max: SLOW_USERS_MAX });

/**
 * Whether the RE2 expression `pattern` matches somewhere in `text`, which has at most
 * MATCHED_CHARACTERS_MAX. Undefined when that takes too
 * long. RE2 never takes exponential time, but linear time can be long too. So a thread of its own
 * tries one text after the other, and is ended when it takes too long. A check whose time is up
 * before its turn fails with SYSTEM: the expressions of others are not its fault.
 */
export async function matches(run: Run, pattern: string, text: string): Promise<boolean | undefined> {
  run.waitingFor = 'a turn to try the regular expression on the body';
  run.waitsForTurn = true;
  return new Promise((resolve, reject) => {
    const begin = () => {
      run.waitingFor = 'the regular expression to be tried on the body';
      run.waitsForTurn = false;
    };
    const { userId = '' } = run.context;
    const task = { userId, pattern, text, begin, resolve, reject };
    waiting.set(userId, [...(waiting.get(userId) ?? []), task]);
    run.atEnd(() => remove(userId, task));
    next();
  });
}

/** A check that has ended needs no answer, and its text no memory. */
function remove(userId: string, task: Task): void {
  const left = waiting.get(userId)?.filter((one) => one !== task) ?? [];
  if (left.length > 0) waiting.set(userId, left);
  else waiting.delete(userId);
}

function next(): void {
  if (current !== undefined || waiting.size === 0) return;
  thread ??= start();
  if (!thread.isReady) return;
  const userId = [...waiting.keys()].find((one) => !slowUsers.has(one)) ?? [...waiting.keys()][0] ?? '';
  const [task, ...rest] = waiting.get(userId) ?? [];
  waiting.delete(userId);
  if (rest.length > 0) waiting.set(userId, rest); // behind the others
  if (task === undefined) return;
  current = task;
  task.begin();
  // An answer that came while the main thread stood still is read before an immediate.
  timer = setTimeout(() => setImmediate(() => current === task && stop()), MATCH_MS_MAX);
  thread.worker.postMessage({ pattern: task.pattern, text: task.text });
}

function start(): { worker: Worker; isReady: boolean } {
  const worker = new Worker(THREAD, {
    eval: true,
    workerData: createRequire(import.meta.url).resolve('re2js'),
    resourceLimits: { maxOldGenerationSizeMb: THREAD_MB_MAX },
  });
  worker.unref();
  const started = { worker, isReady: false };
  worker.on('message', (answer: unknown) => {
    if (thread !== started) return; // it was too late
    started.isReady = true;
    if (typeof answer === 'boolean') settle(answer);
    else next();
  });
  worker.on('error', (error) => {
    if (thread !== started) return;
    if (started.isReady) return stop(); // out of memory
    thread = undefined;
    for (const task of [...waiting.values()].flat()) task.reject(error);
    waiting.clear();
  });
  return started;
}

function stop(): void {
  void thread?.worker.terminate();
  thread = undefined;
  settle(undefined);
}

function settle(found: boolean | undefined): void {
  clearTimeout(timer);
  const task = current;
  current = undefined;
  if (task !== undefined && found === undefined) slowUsers.set(task.userId, true);
  else if (task !== undefined) slowUsers.delete(task.userId);
  task?.resolve(found);
  next();
}
