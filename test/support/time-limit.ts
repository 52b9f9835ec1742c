/**
 * A run of a random test that does nothing after `ms`, counted from the first one. So at least one
 * run completes on a machine that is busy: fast-check's own limit interrupts it, and then fails.
 */
export function withinTime<Args extends unknown[]>(
  ms: number,
  run: (...args: Args) => Promise<void>,
): (...args: Args) => Promise<void> {
  let endMs: number | undefined;
  return async (...args) => {
    endMs ??= performance.now() + ms;
    if (performance.now() < endMs) await run(...args);
  };
}
