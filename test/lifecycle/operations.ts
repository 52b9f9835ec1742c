import fc from 'fast-check';
import {
  OVERLAP_POLICIES,
  type OverlapPolicy,
  TOO_MANY_FAILURES_ACTIONS,
  type TooManyFailuresAction,
} from '../../domain/schedule/run-policy.ts';
import type { FailureReason } from '../../domain/states.ts';

/**
 * The operations of clients, workers and time. `at` selects an existing object by its position
 * modulo their number, so that any list can shrink.
 */
export type Operation =
  | ({
      type: 'create';
      container: boolean;
      cron: boolean;
      failuresAllowed: number;
      action: TooManyFailuresAction;
    } & Policy)
  | { type: 'rename' | 'cron' | 'run' | 'rebuild' | 'terminate' | 'delete' | 'purge'; at: number }
  | { type: 'interval'; at: number; minutes: number }
  | ({ type: 'policy'; at: number } & Policy)
  | { type: 'pause'; at: number; ends: boolean; note: string | null }
  | { type: 'resume'; at: number }
  | { type: 'threshold'; at: number; failuresAllowed: number }
  | { type: 'payload'; at: number; variant: number }
  | { type: 'cancel'; at: number }
  | { type: 'schedule' | 'claim' | 'sweepPurges' | 'claimBuilds' | 'loseBuilds' }
  | { type: 'end'; at: number; outcome: JobOutcome }
  | { type: 'endAll'; outcome: JobOutcome }
  | { type: 'renew' | 'return' | 'adopt' | 'releaseBuild'; at: number }
  | { type: 'endBuild'; at: number; status: 'COMPLETED' | 'FAILED' }
  | { type: 'letPass'; at: number; seconds: number };

export interface Policy {
  overlap: OverlapPolicy;
  maxRetries: number;
}

/** A pause with an end lasts longer than all other times of a sequence together. */
export const PAUSE_SECONDS = 100_000;

/** The defaults: an interval, and a run policy that does nothing. */
export function created(container: boolean, failuresAllowed: number): Operation {
  return {
    type: 'create',
    container,
    failuresAllowed,
    cron: false,
    action: 'TERMINATE',
    overlap: 'QUEUE',
    maxRetries: 0,
  };
}

export interface JobOutcome {
  status: 'COMPLETED' | 'FAILED' | 'CANCELED';
  failureReason?: FailureReason;
}

const at = fc.nat({ max: 11 });
const outcome: fc.Arbitrary<JobOutcome> = fc.constantFrom<JobOutcome>(
  { status: 'COMPLETED' },
  { status: 'FAILED', failureReason: 'EXIT_CODE' },
  { status: 'FAILED', failureReason: 'TIMEOUT' },
  { status: 'FAILED', failureReason: 'SYSTEM' },
  { status: 'CANCELED' },
);
const failuresAllowed = fc.integer({ min: 1, max: 3 });
const policy = { overlap: fc.constantFrom(...OVERLAP_POLICIES), maxRetries: fc.constantFrom(0, 0, 1, 2) };
const create = fc.record({
  type: fc.constant('create'),
  container: fc.boolean(),
  cron: fc.boolean(),
  failuresAllowed,
  action: fc.constantFrom(...TOO_MANY_FAILURES_ACTIONS),
  ...policy,
});
const note = fc.constantFrom(null, 'Disk is full');

/** Weighted so that jobs do run: a sequence of deletions alone proves little. */
export const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 2, arbitrary: create },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('run'), at }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('rebuild'), at }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom('rename', 'terminate', 'delete', 'purge'), at }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('interval'), at, minutes: fc.integer({ min: 1, max: 90 }) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('cron'), at }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('policy'), at, ...policy }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('pause'), at, ends: fc.boolean(), note }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('resume'), at }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('threshold'), at, failuresAllowed }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('payload'), at, variant: fc.nat({ max: 2 }) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('cancel'), at }) },
  { weight: 8, arbitrary: fc.record({ type: fc.constant('schedule') }) },
  { weight: 8, arbitrary: fc.record({ type: fc.constant('claim') }) },
  { weight: 5, arbitrary: fc.record({ type: fc.constant('end'), at, outcome }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('endAll'), outcome }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom('renew', 'return', 'adopt', 'releaseBuild'), at }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constantFrom('claimBuilds', 'claimBuilds', 'loseBuilds') }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('sweepPurges') }) },
  {
    weight: 5,
    arbitrary: fc.record({ type: fc.constant('endBuild'), at, status: fc.constantFrom('COMPLETED', 'FAILED') }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant('letPass'),
      at,
      seconds: fc.constantFrom(7, 40, 130, 3_700, PAUSE_SECONDS + 100),
    }),
  },
);
