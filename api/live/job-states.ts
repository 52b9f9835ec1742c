import type { JobRow } from '../../db/schema.ts';
import { isEnded } from '../../domain/states.ts';

/**
 * The states that `row` has gone through since `last` was seen, ending in `row`: hints come together and rows are read late, but a
 * subscriber is told of QUEUED and RUNNING before the end all the same, with the times that the row has kept. Empty where nothing
 * that can be seen has changed, or `row` is the older one.
 */
export function statesSince(last: JobRow | undefined, row: JobRow): JobRow[] {
  if (last && (isOlder(row, last) || fingerprint(last) === fingerprint(row))) return [];
  const states = [row];
  if (!last) return states;
  if (row.startedAt && row.status !== 'RUNNING' && isEnded(row.status) && rank(last) < rank(running(row)))
    states.unshift(running(row));
  const first = states[0] ?? row;
  if (
    row.queuedAt &&
    first.status !== 'QUEUED' &&
    rank(last) < rank(queued(row)) &&
    (row.startedAt || isEnded(row.status))
  ) {
    states.unshift(queued(row));
  }
  return states;
}

/** Whether `row` was read before `than`, of the same job. */
export function isOlder(row: JobRow, than: JobRow): boolean {
  return rank(row) < rank(than);
}

/** An attempt that is lost goes back to PENDING, and further attempts count on: attempts first, then the order within one. */
function rank({ attempt, status }: JobRow): number {
  if (isEnded(status)) return Number.POSITIVE_INFINITY;
  if (status === 'RUNNING') return attempt * 3;
  return attempt * 3 + (status === 'PENDING' ? 1 : 2); // of the next attempt: after the RUNNING of this one
}

function queued(row: JobRow): JobRow {
  const attempt = row.startedAt ? Math.max(0, row.attempt - 1) : row.attempt;
  return { ...unended(row), status: 'QUEUED', attempt, startedAt: null, updatedAt: row.queuedAt ?? row.updatedAt };
}

function running(row: JobRow): JobRow {
  return { ...unended(row), status: 'RUNNING', updatedAt: row.startedAt ?? row.updatedAt };
}

function unended(row: JobRow): JobRow {
  return { ...row, completedAt: null, exitCode: null, failureReason: null, failureMessage: null };
}

/** What the api shows of a row, apart from the time of its last change: a lease that is renewed is no change. */
function fingerprint(row: JobRow): string {
  const { status, attempt, generation, queuedAt, startedAt, completedAt, exitCode, failureReason, failureMessage } =
    row;
  return JSON.stringify([
    status,
    attempt,
    generation,
    queuedAt,
    startedAt,
    completedAt,
    exitCode,
    failureReason,
    failureMessage,
  ]);
}
