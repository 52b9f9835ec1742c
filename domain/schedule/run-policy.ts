import { below, type Problem } from '../problem.ts';
import type { FailureReason } from '../states.ts';

/** What happens to a slot that is due while a job of its workflow is active. */
export const OVERLAP_POLICIES = ['QUEUE', 'SKIP', 'REPLACE'] as const;
export type OverlapPolicy = (typeof OVERLAP_POLICIES)[number];

/** What happens to slots that have passed while nothing could run. */
export const MISSED_RUN_POLICIES = ['RUN_LATEST', 'SKIP'] as const;
export type MissedRunPolicy = (typeof MISSED_RUN_POLICIES)[number];

/** What happens to a workflow when too many of its jobs have failed in a row. */
export const TOO_MANY_FAILURES_ACTIONS = ['TERMINATE', 'PAUSE', 'NOTHING'] as const;
export type TooManyFailuresAction = (typeof TOO_MANY_FAILURES_ACTIONS)[number];

export const PAUSE_REASONS = ['REQUESTED', 'FAILURES'] as const;
export type PauseReason = (typeof PAUSE_REASONS)[number];

/** How the due slots of a workflow become runs. */
export interface RunPolicy {
  overlap: OverlapPolicy;
  missedRuns: MissedRunPolicy;
  /** A slot that cannot start within this time is dropped. Null: it waits however long. */
  startWithinSeconds: number | null;
  /** Each workflow waits a part of this behind each of its slots, always the same part. */
  spreadSeconds: number;
  /** A run that has not started so long after it was due is notified. Null: never. */
  lateAfterSeconds: number | null;
  /** A job that runs longer is notified, and goes on. Null: never. */
  expectedMaxSeconds: number | null;
  /** A job that COMPLETES sooner is notified. Null: never. */
  expectedMinSeconds: number | null;
  retry: RetryPolicy;
}

/** When a failed attempt of a job is followed by another one. */
export interface RetryPolicy {
  maxRetries: number;
  delaySeconds: number;
  factor: number;
  maxDelaySeconds: number;
  on: FailureReason[];
}

/** The defaults are those of the specification of schedules. */
export const DEFAULT_RUN_POLICY: RunPolicy = {
  overlap: 'QUEUE',
  missedRuns: 'RUN_LATEST',
  startWithinSeconds: null,
  spreadSeconds: 0,
  lateAfterSeconds: null,
  expectedMaxSeconds: null,
  expectedMinSeconds: null,
  retry: {
    maxRetries: 0,
    delaySeconds: 30,
    factor: 2,
    maxDelaySeconds: 3_600,
    on: ['EXIT_CODE', 'CHECK_FAILED', 'TIMEOUT', 'OUT_OF_MEMORY'],
  },
};

/** A missed slot that is later than this is dropped by SKIP. */
export const MISSED_SECONDS = 60;

const DAY_SECONDS = 86_400;
/** The bounds of the fields, both included. */
export const BOUNDS = {
  startWithinSeconds: { min: 1, max: 30 * DAY_SECONDS, unit: ' seconds' },
  spreadSeconds: { min: 0, max: DAY_SECONDS, unit: ' seconds' },
  lateAfterSeconds: { min: 1, max: 30 * DAY_SECONDS, unit: ' seconds' },
  expectedMaxSeconds: { min: 1, max: 30 * DAY_SECONDS, unit: ' seconds' },
  expectedMinSeconds: { min: 1, max: 30 * DAY_SECONDS, unit: ' seconds' },
  maxRetries: { min: 0, max: 20, unit: '' },
  delaySeconds: { min: 0, max: DAY_SECONDS, unit: ' seconds' },
  factor: { min: 1, max: 10, unit: '' },
  maxDelaySeconds: { min: 1, max: 7 * DAY_SECONDS, unit: ' seconds' },
};

type Given<T> = { [Key in keyof T]?: T[Key] | null | undefined };
export type RunPolicyInput = Given<Omit<RunPolicy, 'retry'>> & { retry?: Given<RetryPolicy> | null | undefined };

/** The policy with its defaults, as it is stored. The input has no problems. */
export function toRunPolicy({ retry, ...input }: RunPolicyInput): RunPolicy {
  const { retry: defaultRetry, ...defaults } = DEFAULT_RUN_POLICY;
  return { ...withDefaults(defaults, input), retry: withDefaults(defaultRetry, retry ?? {}) };
}

function withDefaults<T extends object>(defaults: T, given: Given<T>): T {
  const present = Object.entries(given).filter(([, value]) => value !== null && value !== undefined);
  return { ...defaults, ...Object.fromEntries(present) };
}

/** Everything that is wrong with a given policy. */
export function runPolicyProblems({ retry, ...input }: RunPolicyInput): Problem[] {
  const { maxRetries, delaySeconds, factor, maxDelaySeconds, on } = retry ?? {};
  const ofRetry = [
    ...problemOf('maxRetries', maxRetries),
    ...problemOf('delaySeconds', delaySeconds),
    ...problemOf('factor', factor),
    ...problemOf('maxDelaySeconds', maxDelaySeconds),
    ...delayProblems(retry ?? {}),
    ...(on?.length === 0 ? [{ path: ['on'], message: 'Name at least one reason, or leave the list out.' }] : []),
    ...(on && new Set(on).size < on.length ? [{ path: ['on'], message: 'Name each reason once.' }] : []),
  ];
  return [
    ...problemOf('startWithinSeconds', input.startWithinSeconds),
    ...problemOf('spreadSeconds', input.spreadSeconds),
    ...problemOf('lateAfterSeconds', input.lateAfterSeconds),
    ...problemOf('expectedMaxSeconds', input.expectedMaxSeconds),
    ...problemOf('expectedMinSeconds', input.expectedMinSeconds),
    ...expectationProblems(input),
    ...below(['retry'], ofRetry),
  ];
}

/** Each job would be too short or too long. */
function expectationProblems({ expectedMinSeconds: least, expectedMaxSeconds: most }: RunPolicyInput): Problem[] {
  if (typeof least !== 'number' || typeof most !== 'number' || least <= most) return [];
  const message = `It must be at most expectedMaxSeconds, ${most}, and not ${least}.`;
  return [{ path: ['expectedMinSeconds'], message }];
}

/** The longest delay would make all of them shorter than the given one. */
function delayProblems({ delaySeconds, maxDelaySeconds }: Given<RetryPolicy>): Problem[] {
  const { retry: defaults } = DEFAULT_RUN_POLICY;
  const [delay, most] = [delaySeconds ?? defaults.delaySeconds, maxDelaySeconds ?? defaults.maxDelaySeconds];
  if (delay <= most || [...problemOf('delaySeconds', delay), ...problemOf('maxDelaySeconds', most)].length > 0)
    return [];
  return typeof maxDelaySeconds === 'number'
    ? [{ path: ['maxDelaySeconds'], message: `It must be at least delaySeconds, ${delay}, and not ${most}.` }]
    : [
        {
          path: ['delaySeconds'],
          message: `It must be at most maxDelaySeconds, by default ${most}, and not ${delay}.`,
        },
      ];
}

/** As in "0 to 86,400". */
export function boundsText(name: keyof typeof BOUNDS): string {
  const { min, max } = BOUNDS[name];
  return `${min} to ${max.toLocaleString('en-US')}`;
}

function problemOf(name: keyof typeof BOUNDS, value: number | null | undefined): Problem[] {
  const { min, max, unit } = BOUNDS[name];
  if (value === undefined || value === null || (value >= min && value <= max)) return [];
  return [{ path: [name], message: `It must be from ${boundsText(name)}${unit}, not ${value}.` }];
}
