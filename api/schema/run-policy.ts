import { boundsText, type RetryPolicy, type RunPolicy } from '../../domain/schedule/run-policy.ts';
import { FAILURE_REASONS } from '../../domain/states.ts';
import { builder } from './builder.ts';
import { cost } from './cost.ts';
import { FailureReasonEnum, MissedRunPolicyEnum, OverlapPolicyEnum } from './enums.ts';

const START_WITHIN = 'A slot that cannot start within so many seconds is dropped';
const SPREAD =
  'Each workflow starts a part of so many seconds behind its slots, always the same part, so that many do not start at once';
const LATE_AFTER = 'A run that has not started so many seconds after it was due is notified, as RUN_LATE';
const EXPECTED_MAX = 'A job that runs longer than so many seconds is notified, as JOB_LONG, and goes on';
const EXPECTED_MIN = 'A job that completes in less than so many seconds is notified, as JOB_SHORT';
const MAX_RETRIES = 'How many more attempts a job has after a failed one';
const DELAY = 'Seconds from a failed attempt to the next one, 10 % more or less';
const FACTOR = 'By what the delay grows with each retry';
const MAX_DELAY = 'The longest delay, in seconds';
const REASONS = 'The failures that are retried';

const RetryPolicyType = builder.objectRef<RetryPolicy>('RetryPolicy').implement({
  description: 'When a failed attempt of a job is followed by another one. Lost workers do not count as retries.',
  fields: (t) => ({
    maxRetries: t.exposeInt('maxRetries', { description: `${MAX_RETRIES}.` }),
    delaySeconds: t.exposeInt('delaySeconds', { description: `${DELAY}.` }),
    factor: t.exposeFloat('factor', { description: `${FACTOR}.` }),
    maxDelaySeconds: t.exposeInt('maxDelaySeconds', { description: `${MAX_DELAY}.` }),
    on: t.field({
      type: [FailureReasonEnum],
      description: `${REASONS}.`,
      extensions: cost({ itemsMax: FAILURE_REASONS.length }),
      resolve: ({ on }) => on,
    }),
  }),
});

export const RunPolicyType = builder.objectRef<RunPolicy>('RunPolicy').implement({
  description: 'How the slots of a workflow become jobs.',
  fields: (t) => ({
    overlap: t.field({
      type: OverlapPolicyEnum,
      description: 'What happens to a slot that is due while a job is active.',
      resolve: ({ overlap }) => overlap,
    }),
    missedRuns: t.field({
      type: MissedRunPolicyEnum,
      description: 'What happens to slots that passed while nothing could run them.',
      resolve: ({ missedRuns }) => missedRuns,
    }),
    startWithinSeconds: t.exposeInt('startWithinSeconds', {
      nullable: true,
      description: `${START_WITHIN}. Null if it may wait however long.`,
    }),
    spreadSeconds: t.exposeInt('spreadSeconds', { description: `${SPREAD}.` }),
    lateAfterSeconds: t.exposeInt('lateAfterSeconds', { nullable: true, description: `${LATE_AFTER}. Null: never.` }),
    expectedMaxSeconds: t.exposeInt('expectedMaxSeconds', {
      nullable: true,
      description: `${EXPECTED_MAX}. Null: never.`,
    }),
    expectedMinSeconds: t.exposeInt('expectedMinSeconds', {
      nullable: true,
      description: `${EXPECTED_MIN}. Null: never.`,
    }),
    retry: t.field({
      type: RetryPolicyType,
      description: 'When a failed job is tried again.',
      resolve: ({ retry }) => retry,
    }),
  }),
});

const RetryPolicyInput = builder.inputType('RetryPolicyInput', {
  description: 'When a failed attempt of a job is followed by another one.',
  fields: (t) => ({
    maxRetries: t.int({ required: true, description: `${MAX_RETRIES}: ${boundsText('maxRetries')}.` }),
    delaySeconds: t.int({ description: `${DELAY}: ${boundsText('delaySeconds')}. Defaults to 30.` }),
    factor: t.float({ description: `${FACTOR}: ${boundsText('factor')}. Defaults to 2.` }),
    maxDelaySeconds: t.int({ description: `${MAX_DELAY}: ${boundsText('maxDelaySeconds')}. Defaults to 3,600.` }),
    on: t.field({
      type: [FailureReasonEnum],
      description: `${REASONS}. Defaults to EXIT_CODE, CHECK_FAILED, TIMEOUT and OUT_OF_MEMORY. SYSTEM is a fault of the installation that a worker reports; a lost worker takes no retry.`,
    }),
  }),
});

export const RunPolicyInput = builder.inputType('RunPolicyInput', {
  description: 'How the slots of a workflow become jobs. A field that is left out has its default.',
  fields: (t) => ({
    overlap: t.field({
      type: OverlapPolicyEnum,
      description: 'What happens to a slot that is due while a job is active. Defaults to QUEUE.',
    }),
    missedRuns: t.field({
      type: MissedRunPolicyEnum,
      description: 'What happens to slots that passed while nothing could run them. Defaults to RUN_LATEST.',
    }),
    startWithinSeconds: t.int({
      description: `${START_WITHIN}: ${boundsText('startWithinSeconds')}. By default it waits however long.`,
    }),
    spreadSeconds: t.int({ description: `${SPREAD}: ${boundsText('spreadSeconds')}. Defaults to 0.` }),
    lateAfterSeconds: t.int({ description: `${LATE_AFTER}: ${boundsText('lateAfterSeconds')}. By default it is not.` }),
    expectedMaxSeconds: t.int({
      description: `${EXPECTED_MAX}: ${boundsText('expectedMaxSeconds')}. By default it is not.`,
    }),
    expectedMinSeconds: t.int({
      description: `${EXPECTED_MIN}: ${boundsText('expectedMinSeconds')}. By default it is not.`,
    }),
    retry: t.field({ type: RetryPolicyInput, description: 'When a failed job is tried again. By default it is not.' }),
  }),
});
