import { z } from 'zod';
import { didYouMean } from '../suggest.ts';
import { textProblem } from '../text.ts';

/**
 * The values that payloads consist of. Their messages are whole sentences that begin with
 * `subject`.
 */

export function text(subject: string) {
  return z.string({ error: typeError(subject, 'text') }).superRefine((value, context) => {
    const problem = textProblem(value);
    if (problem) context.addIssue({ code: 'custom', message: `${subject} ${problem}.` });
  });
}

export function flag(subject: string) {
  return z.boolean({ error: typeError(subject, 'true or false') });
}

export function oneOf<T extends string>(values: readonly [T, ...T[]], subject: string) {
  return z.enum(values, {
    error: (issue) =>
      `${subject} must be one of ${values.join(', ')}.${typeof issue.input === 'string' ? didYouMean(issue.input, values) : ''}`,
  });
}

export function seconds(subject: string, min: number, max: number) {
  const bounds = `${subject} must be ${min} to ${max} seconds.`;
  return z
    .number({ error: typeError(subject, 'a number of seconds') })
    .min(min, bounds)
    .max(max, bounds);
}

/** The sentence for a value of another type, or for a missing one. */
export function typeError(subject: string, expected: string) {
  return (issue: { input?: unknown }) =>
    issue.input === undefined
      ? `${subject} is missing: it must be ${expected}.`
      : `${subject} must be ${expected}, not ${typeName(issue.input)}.`;
}

export function typeName(value: unknown): string {
  // 1e999 in JSON.
  if (typeof value === 'number' && !Number.isFinite(value)) return 'a number beyond all bounds';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  const names: Record<string, string> = {
    string: 'text',
    number: 'a number',
    boolean: 'true or false',
    object: 'an object',
  };
  return names[typeof value] ?? typeof value;
}

/** A text for a sentence: printable, and cut at 100 characters so that the sentence stays short. */
export function shown(value: string): string {
  return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}...` : value);
}
