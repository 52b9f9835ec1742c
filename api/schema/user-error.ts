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
  description: 'What the caller can mend. The object that a mutation gives is null when there is one.',
  fields: (t) => ({
    code: t.field({ type: UserErrorCodeEnum, description: 'For a program.', resolve: ({ code }) => code }),
    message: t.exposeString('message', { description: 'For a person: a sentence that says what would be right.' }),
    path: t.exposeStringList('path', {
      nullable: true,
      description: 'Where it is, from the fields of `input` on; list indices as text.',
    }),
  }),
});

const UserErrorCodeEnum = describedEnum('UserErrorCode', 'What kind of thing a caller has to mend.', CODES, {
  INVALID: 'A value that cannot be.',
  NOT_FOUND: 'There is none with this id among what is yours.',
  ALREADY_EXISTS: 'There is one already.',
  CONFLICT: 'It cannot be done in the state that it is in.',
  NOT_READY: 'It cannot be done yet.',
  TERMINATED: 'The workflow has ended for good.',
  LIMIT_EXCEEDED: 'There are as many as there may be.',
  BAD_CREDENTIALS: 'No account has this email and password; where one is signed in, its password is another one.',
});

/** What a mutation answers that found something to mend. */
export function refused(...userErrors: UserErrorShape[]): { userErrors: UserErrorShape[] } {
  return { userErrors };
}

/** More than anybody mends at once: a payload of 64 KiB may have thousands. */
const PROBLEMS_MAX = 100;

export function invalid(problems: Problem[]): { userErrors: UserErrorShape[] } {
  const told = problems.slice(0, PROBLEMS_MAX);
  return refused(...told.map(({ path, message }): UserErrorShape => ({ code: 'INVALID', message, path })));
}

/** The same for an id that is unknown, malformed, or another user's. */
export function notFound(what: string): { userErrors: UserErrorShape[] } {
  return refused({ code: 'NOT_FOUND', message: `You have no ${what} with this id.`, path: ['id'] });
}
