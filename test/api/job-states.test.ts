import { describe, expect, test } from 'vitest';
import { statesSince } from '../../api/live/job-states.ts';
import type { JobRow } from '../../db/schema.ts';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
const PENDING: JobRow = {
  id: '00000000-0000-7000-8000-000000000001',
  workflowId: '00000000-0000-7000-8000-000000000002',
  userId: '00000000-0000-7000-8000-000000000003',
  kind: 'CONTAINER',
  trigger: 'MANUAL',
  status: 'PENDING',
  generation: 1,
  attempt: 0,
  uncountedAttempts: 0,
  adoptions: 0,
  scheduledAt: at(0),
  createdAt: at(0),
  updatedAt: at(0),
  queuedAt: null,
  startedAt: null,
  completedAt: null,
  leaseToken: null,
  leaseOwner: null,
  leaseExpiresAt: null,
  engineId: null,
  cancelRequestedAt: null,
  exitCode: null,
  failureReason: null,
  failureMessage: null,
  logLineCount: 0,
  requestedBy: null,
  requestedWith: null,
  logAttempt: 1,
  logOpen: false,
  lostAttempt: null,
  afterFailure: true,
  awaited: true,
  retries: 0,
  retryAt: null,
};
const QUEUED: JobRow = { ...PENDING, status: 'QUEUED', queuedAt: at(1) };
const RUNNING: JobRow = { ...QUEUED, status: 'RUNNING', attempt: 1, startedAt: at(2), leaseToken: PENDING.id };
const FAILED: JobRow = {
  ...RUNNING,
  status: 'FAILED',
  leaseToken: null,
  completedAt: at(3),
  exitCode: 1,
  failureReason: 'EXIT_CODE',
  failureMessage: 'It ended with 1.',
};
const LOST: JobRow = { ...RUNNING, status: 'PENDING', leaseToken: null };
const LOST_LATER: JobRow = { ...LOST, startedAt: null, updatedAt: at(3) };
const AGAIN: JobRow = { ...RUNNING, attempt: 2, startedAt: at(9) };

const statesTexts = (last: JobRow | undefined, row: JobRow) =>
  statesSince(last, row).map(({ status, attempt }) => `${status} ${attempt}`);

describe('the states since the last one that was sent', () => {
  test.each<[string, JobRow | undefined, JobRow, string[]]>([
    ['nothing was sent', undefined, RUNNING, ['RUNNING 1']],
    ['the next one', PENDING, QUEUED, ['QUEUED 0']],
    ['one was skipped', PENDING, RUNNING, ['QUEUED 0', 'RUNNING 1']],
    ['all were skipped', PENDING, FAILED, ['QUEUED 0', 'RUNNING 1', 'FAILED 1']],
    ['the run was skipped', QUEUED, FAILED, ['RUNNING 1', 'FAILED 1']],
    ['the end', RUNNING, FAILED, ['FAILED 1']],
    ['the attempt was lost', RUNNING, LOST, ['PENDING 1']],
    ['it was canceled before it was tried again', LOST_LATER, { ...LOST_LATER, status: 'CANCELED' }, ['CANCELED 1']],
    ['it was tried again', LOST, AGAIN, ['QUEUED 1', 'RUNNING 2']],
    ['it was lost and tried again', RUNNING, AGAIN, ['QUEUED 1', 'RUNNING 2']],
    ['it was canceled before it ran', PENDING, { ...PENDING, status: 'CANCELED', completedAt: at(1) }, ['CANCELED 0']],
    ['nothing has changed', RUNNING, { ...RUNNING, leaseExpiresAt: at(8), updatedAt: at(8) }, []],
    ['an older row was read late', FAILED, RUNNING, []],
    ['a row of an older attempt was read late', AGAIN, LOST, []],
  ])('%s', (_, last, row, expected) => {
    expect(statesTexts(last, row)).toEqual(expected);
  });

  test('have their own times, and no field of the end', () => {
    const [queued, running] = statesSince(PENDING, FAILED);
    expect(queued).toMatchObject({ queuedAt: at(1), startedAt: null, completedAt: null, updatedAt: at(1) });
    expect(running).toMatchObject({ startedAt: at(2), completedAt: null, exitCode: null, failureReason: null });
  });
});
