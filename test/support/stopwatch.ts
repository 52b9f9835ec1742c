const STEP_MS = 25;

/**
 * Measures time as this process has it, for the time in which the product promises something: what
 * a busy machine takes away between two steps counts as two steps at most. The product and the test
 * share the process. Call the result to stop it: it returns milliseconds.
 */
export function stopwatch(): () => number {
  let passedMs = 0;
  let last = performance.now();
  const step = () => {
    const now = performance.now();
    passedMs += Math.min(now - last, 2 * STEP_MS);
    last = now;
  };
  // A test that fails stops no stopwatch.
  const timer = setInterval(step, STEP_MS).unref();
  return () => {
    clearInterval(timer);
    step();
    return passedMs;
  };
}
