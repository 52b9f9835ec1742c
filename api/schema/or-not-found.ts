import { failure } from '../graphql/errors.ts';

/** What a row's key promises to be there. It is not where it was purged between two reads. */
export function orNotFound<Row>(row: Row | undefined): Row {
  if (row === undefined) throw failure('NOT_FOUND', 'What this belongs to was purged while it was read.');
  return row;
}
