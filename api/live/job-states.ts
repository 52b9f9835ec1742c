import type { JobRow } from '../../db/schema.ts';
import { isEnded } from '../../domain/states.ts';

/**
 * The states that `row` went through since `last`, ending with `row`. Hints come together and rows
 * are read late, but a subscriber still sees QUEUED and RUNNING before the end, with the times that
 * the row has kept. Empty if nothing visible changed, or if `row` is the older one.
 */
export function statesSince(last: JobRow | undefined, row: JobRow): JobRow[] {
  if (last && (isOlder(row, last) || fingerprint(last) === fingerprint(row))) return [];
  const states = [row];
  if (!last) return states;
  if (row.startedAt && row.status !== 'RUNNING' && isEnded(row.status) && rank(last) < rank(running(row)))
    states.unshift(running(row));
  const first = states[0] ?? row;
  // A job that waits for another attempt has been queued for the one before.
  if (
    row.queuedAt &&
    row.queuedAt > last.updatedAt &&
    first.status !== 'QUEUED' &&
    rank(last) < rank(queued(row)) &&
    (row.startedAt || isEnded(row.status))
  ) {
    states.unshift(queued(row));
  }
  return states;
}

/** Whether `row` is an earlier state of the same job than `than`. */
export function isOlder(row: JobRow, than: JobRow): boolean {
  return rank(row) < rank(than);
}

/**
 * Orders the states of a job: by attempt, then within one. A lost attempt goes back to PENDING, and
 * later attempts count on.
 */
function rank({ attempt, status }: JobRow): number {
  if (isEnded(status)) return Number.POSITIVE_INFINITY;
  if (status === 'RUNNING') return attempt * 3;
  // Of the next attempt, after RUNNING of this one.
  return attempt * 3 + (status === 'PENDING' ? 1 : 2);
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

/** The visible part of a row. A lease that is renewed is no change. */
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
