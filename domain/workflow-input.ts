import {
  ALERT_AFTER_FAILURES_MAX,
  FAILURES_ALLOWED_MAX,
  INTERVAL_MINUTES_MAX,
  LOG_RETENTION_DAYS,
  NAME_LENGTH_MAX,
} from './limits.ts';
import type { Problem } from './problem.ts';
import { characterCount, isBlank, textProblem } from './text.ts';

/**
 * The properties of a workflow besides its payload. In an update, an absent property keeps its
 * value.
 */
export interface WorkflowProperties {
  name?: string | null;
  interval?: number | null;
  maxConsecutiveJobFailuresAllowed?: number | null;
  logRetentionDays?: number | null;
  alertAfterFailures?: number | null;
}

/** Everything that is wrong with the given properties. */
export function workflowProblems(
  input: WorkflowProperties,
  { logRetentionDays = LOG_RETENTION_DAYS }: { logRetentionDays?: number } = {},
): Problem[] {
  return [
    ...nameProblems(input.name, NAME_LENGTH_MAX),
    ...rangeProblems('interval', input.interval, INTERVAL_MINUTES_MAX, 'The interval', ' minutes'),
    ...rangeProblems(
      'maxConsecutiveJobFailuresAllowed',
      input.maxConsecutiveJobFailuresAllowed,
      FAILURES_ALLOWED_MAX,
      'The number of consecutive failures allowed',
      '',
    ),
    ...rangeProblems(
      'alertAfterFailures',
      input.alertAfterFailures,
      ALERT_AFTER_FAILURES_MAX,
      'The number of failures before an alert',
      '',
    ),
    ...rangeProblems('logRetentionDays', input.logRetentionDays, logRetentionDays, 'The log retention', ' days'),
  ];
}

/** What is wrong with the name of a workflow or a token. */
export function nameProblems(name: string | null | undefined, lengthMax: number): Problem[] {
  if (name === undefined || name === null) return [];
  const problem = textProblem(name);
  if (problem) return [{ path: ['name'], message: `The name ${problem}.` }];
  const count = characterCount(name);
  if (count < 1 || count > lengthMax)
    return [{ path: ['name'], message: `The name must have 1 to ${lengthMax} characters, not ${count}.` }];
  if (!isBlank(name)) return [];
  return [{ path: ['name'], message: 'The name must have a character that can be seen: this one is blank.' }];
}

function rangeProblems(
  field: string,
  value: number | null | undefined,
  max: number,
  subject: string,
  unit: string,
): Problem[] {
  if (value === undefined || value === null || (value >= 1 && value <= max)) return [];
  return [{ path: [field], message: `${subject} must be 1 to ${max}${unit}, not ${value}.` }];
}
