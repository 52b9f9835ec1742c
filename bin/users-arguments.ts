import { emailProblems, normalizedEmail } from '../domain/account/account-input.ts';
import { meantFor } from '../domain/suggest.ts';
import { StartupError } from './startup-error.ts';
import { listOf } from './words.ts';

export const USERS_ACTIONS = ['list', 'create', 'set-password', 'disable', 'enable'] as const;

export type UsersAction =
  | { name: 'list'; json: boolean }
  | { name: 'create'; email: string; administrator: boolean }
  | { name: 'disable'; email: string; terminate: boolean }
  | { name: 'set-password' | 'enable'; email: string };

const FLAGS: Record<UsersAction['name'], readonly string[]> = {
  list: ['--json'],
  create: ['--admin'],
  'set-password': [],
  disable: ['--terminate'],
  enable: [],
};

/** The action that `users ARGS` names. Throws a StartupError that says what is wrong. */
export function parseUsers([word, ...rest]: string[]): UsersAction {
  if (word === undefined) {
    throw new StartupError(
      `What to do with users is missing: one of ${listOf(USERS_ACTIONS)}. For example: users list`,
    );
  }
  const name = USERS_ACTIONS.find((action) => action === word);
  if (name === undefined) {
    throw new StartupError(
      `users does not know "${word}"${meantFor(word, USERS_ACTIONS)} There are ${listOf(USERS_ACTIONS)}.`,
    );
  }
  const flags = rest.filter((argument) => argument.startsWith('-'));
  const emails = rest.filter((argument) => !argument.startsWith('-'));
  const odd = flags.find((flag) => !FLAGS[name].includes(flag)) ?? emails[name === 'list' ? 0 : 1];
  if (odd !== undefined) throw new StartupError(usageOf(name));
  if (name === 'list') return { name, json: flags.includes('--json') };
  const email = normalizedEmail(emails[0] ?? '');
  if (emailProblems(email).length > 0) {
    const given = emails.length === 0 ? 'is missing' : 'is no email';
    throw new StartupError(`The account's email ${given}: name it like chronoverse users ${name} ann@example.com`);
  }
  if (name === 'create') return { name, email, administrator: flags.includes('--admin') };
  return name === 'disable' ? { name, email, terminate: flags.includes('--terminate') } : { name, email };
}

/** Does not repeat the arguments, because one may be a password. */
function usageOf(name: UsersAction['name']): string {
  const takes = [...(name === 'list' ? [] : ['one email']), ...FLAGS[name]];
  const never =
    name === 'create' || name === 'set-password'
      ? ' A password is never an argument, which others on this machine could read: type it when asked, or send it on standard input.'
      : '';
  return `users ${name} takes ${listOf(takes)}, and nothing else.${never}`;
}
