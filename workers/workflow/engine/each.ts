/**
 * Does `act` for one item after the other, whatever becomes of the others: one that an engine refuses holds up none of those behind it. Rejects at
 * the end with what the first one failed with.
 */
export async function eachAlone<T>(items: Iterable<T>, act: (item: T) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  for (const item of items) {
    try {
      await act(item);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
