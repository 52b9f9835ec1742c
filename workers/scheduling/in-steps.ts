import { NO_ID } from '../../domain/ids.ts';

/** Runs `step` from the first id on until nothing is left. Returns the sum of its counts. */
export async function inSteps(
  signal: AbortSignal,
  step: (after: string) => Promise<{ after: string | undefined; count: number }>,
): Promise<number> {
  let count = 0;
  for (let after: string | undefined = NO_ID; after !== undefined && !signal.aborted; ) {
    const done = await step(after);
    count += done.count;
    after = done.after;
  }
  return count;
}
