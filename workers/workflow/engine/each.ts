/**
 * Calls `act` for each item, one after the other. An item that the engine refuses does not stop the
 * others. Rejects at the end with the first error.
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
