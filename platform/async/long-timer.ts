/** Node turns a longer timer into one of a millisecond. */
export const TIMER_MS_MAX = 0x7fff_ffff; // 24.8 days

/** Calls `run` once after `ms` milliseconds, however many. The returned function cancels it. */
export function callAfter(ms: number, run: () => void): () => void {
  const end = performance.now() + ms;
  let timer: NodeJS.Timeout | undefined;
  const wait = () => {
    const left = end - performance.now();
    timer = left > TIMER_MS_MAX ? setTimeout(wait, TIMER_MS_MAX) : setTimeout(run, Math.max(0, left));
  };
  wait();
  return () => clearTimeout(timer);
}
