import type { Problem } from '../../domain/problem.ts';
import { builder } from './builder.ts';
import { describedEnum } from './enums.ts';

const CODES = [
  'INVALID',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'CONFLICT',
  'NOT_READY',
  'TERMINATED',
  'LIMIT_EXCEEDED',
  'BAD_CREDENTIALS',
] as const;
export type UserErrorCode = (typeof CODES)[number];

export interface UserErrorShape {
  code: UserErrorCode;
  message: string;
  path: string[] | null;
}

export const UserError = builder.objectRef<UserErrorShape>('UserError');
UserError.implement({
  description:
    'A problem that the caller can fix. With one, the mutation changed nothing and the other fields of its payload are null.',
  fields: (t) => ({
    code: t.field({
      type: UserErrorCodeEnum,
      description: 'What kind of problem it is, for programs.',
      resolve: ({ code }) => code,
    }),
    message: t.exposeString('message', {
      description: 'What is wrong and what would be right, as a sentence for people.',
    }),
    path: t.exposeStringList('path', {
      nullable: true,
      description: 'The path of the field in `input` that is wrong, with list indices as text. Null if no field is.',
    }),
  }),
});

const UserErrorCodeEnum = describedEnum('UserErrorCode', 'The kind of a problem that the caller can fix.', CODES, {
  INVALID: 'A value is not allowed.',
  NOT_FOUND: 'You have no such object.',
  ALREADY_EXISTS: 'The object exists already.',
  CONFLICT: 'The state of the object does not allow it.',
  NOT_READY: 'The object is not ready for it yet.',
  TERMINATED: 'The workflow is terminated.',
  LIMIT_EXCEEDED: 'A limit is reached.',
  BAD_CREDENTIALS: 'The email and password, or the current password, are wrong.',
});

/** The answer of a mutation that found problems. */
export function refused(...userErrors: UserErrorShape[]): { userErrors: UserErrorShape[] } {
  return { userErrors };
}

/** More than anyone fixes at once: a payload of 64 KiB can have thousands. */
const PROBLEMS_MAX = 100;

/** The answer to an input with these problems. */
export function invalid(problems: Problem[]): { userErrors: UserErrorShape[] } {
  const shown = problems.slice(0, PROBLEMS_MAX);
  return refused(...shown.map(({ path, message }): UserErrorShape => ({ code: 'INVALID', message, path })));
}

/** The same answer for an id that is unknown, malformed, or another user's. */
export function notFound(what: string): { userErrors: UserErrorShape[] } {
  return refused({ code: 'NOT_FOUND', message: `You have no ${what} with this id.`, path: ['id'] });
}
