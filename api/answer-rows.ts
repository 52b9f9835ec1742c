/**
 * The rows of one answer. The statements of an answer read a row at different moments, and an event
 * carries one that was read before: the first state that the answer shows is the one that it shows
 * everywhere.
 */
export class AnswerRows {
  readonly #rows = new Map<string, unknown>();

  /** The row to show for `row`: the one with its id that the answer has already. */
  shown(row: unknown): unknown {
    if (typeof row !== 'object' || row === null || !('id' in row) || typeof row.id !== 'string') return row;
    const known = this.#rows.get(row.id);
    if (known !== undefined) return known;
    this.#rows.set(row.id, row);
    return row;
  }

  /** Begins anew: a mutation has changed rows. */
  clear(): void {
    this.#rows.clear();
  }
}
