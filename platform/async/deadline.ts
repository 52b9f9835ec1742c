/**
 * How long a `close` may take if its caller gives no deadline. A process that stops gives one to
 * each of its parts: see bin/shutdown.ts.
 */
const CLOSE_MS_MAX = 10_000;

export function defaultDeadline(): AbortSignal {
  return AbortSignal.timeout(CLOSE_MS_MAX);
}

/**
 * Whether `promise` settles within `ms`. Its work goes on after that. If it rejects in time, this
 * rejects too.
 */
export async function settledWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Whether `promise` settles before `deadline` aborts. Its work goes on after that. If it rejects in
 * time, this rejects too.
 */
export async function settledBefore(promise: Promise<unknown>, deadline: AbortSignal): Promise<boolean> {
  let stop = () => {};
  const late = new Promise<false>((resolve) => {
    stop = () => resolve(false);
    deadline.addEventListener('abort', stop);
    if (deadline.aborted) setImmediate(stop); // a promise that has already settled is in time
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    deadline.removeEventListener('abort', stop);
  }
}

/** The result of `promise`. Rejects with `late`, a sentence or an error, after `ms` without one. */
export async function withDeadline<T>(promise: Promise<T>, ms: number, late: string | (() => Error)): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(typeof late === 'string' ? new Error(late) : late()), ms);
  });
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}
