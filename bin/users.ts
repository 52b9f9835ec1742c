import { createPasswords } from '../api/auth/passwords.ts';
import {
  createUser,
  disableUser,
  enableUser,
  type ListedUser,
  listUsers,
  setPassword,
} from '../db/accounts/accounts.ts';
import { recordAudit } from '../db/accounts/audit.ts';
import type { Db } from '../db/client.ts';
import { terminateWorkflowsOf } from '../db/workflows/terminate.ts';
import { newCredentialProblems } from '../domain/account/account-input.ts';
import { NO_ID } from '../domain/ids.ts';
import type { CommandContext } from './context.ts';
import { readNewPassword } from './read-password.ts';
import { StartupError } from './startup-error.ts';
import type { UsersAction } from './users-arguments.ts';
import { openUsersDatabase } from './users-database.ts';

const PAGE_SIZE = 1_000;
const EMAIL_WIDTH_MIN = 30;

/**
 * `chronoverse users ...`: manages the accounts, and needs only the database. Returns 1, after a
 * sentence, if it refuses: the account is unknown, exists already, or is the last administrator.
 */
export async function runUsers(context: CommandContext, action: UsersAction): Promise<number> {
  if (action.name === 'list') return list(await openUsersDatabase(context, { mayBegin: false }), action.json);
  const { email } = action;
  // The password is read before a database is started.
  const passwordHash = action.name === 'create' || action.name === 'set-password' ? await newPasswordHash(email) : '';
  const db = await openUsersDatabase(context, { mayBegin: action.name === 'create' });
  switch (action.name) {
    case 'create':
      return create(db, email, passwordHash, action.administrator);
    case 'set-password': {
      const changed = await audited(
        db,
        'users set-password',
        (tx) => setPassword(tx, { email, passwordHash }),
        (found) => found?.id,
      );
      if (changed === undefined) return unknown(email);
      return say(
        `${email} has the new password; ${counted(changed.sessionsEnded, 'session')} ended. Its API tokens stay.`,
      );
    }
    case 'disable':
      return disable(db, email, action.terminate);
    case 'enable':
      if (
        !(await audited(
          db,
          'users enable',
          (tx) => enableUser(tx, email),
          (id) => id,
        ))
      )
        return unknown(email);
      return say(`${email} may sign in again, and its API tokens work again.`);
  }
}

async function create(db: Db, email: string, passwordHash: string, administrator: boolean): Promise<number> {
  const user = await audited(
    db,
    'users create',
    (tx) => createUser(tx, { email, passwordHash, administrator }),
    (made) => (typeof made === 'string' ? undefined : made.id),
  );
  if (typeof user === 'string') return fail(`There is an account with the email ${email} already.`);
  return say(`${email} has an account${user.administrator ? ', as an administrator' : ''}.`);
}

async function disable(db: Db, email: string, terminate: boolean): Promise<number> {
  const disabled = await audited(
    db,
    'users disable',
    (tx) => disableUser(tx, email),
    (result) => (typeof result === 'string' ? undefined : result.userId),
  );
  if (disabled === 'UNKNOWN') return unknown(email);
  if (disabled === 'LAST_ADMINISTRATOR') {
    return fail(
      `${email} is the last administrator that is not disabled: make another one first, with chronoverse users create EMAIL --admin`,
    );
  }
  const workflows = terminate
    ? `${counted(await terminateWorkflowsOf(db, disabled.userId, 'users disable --terminate'), 'workflow')} terminated.`
    : 'Its workflows go on; --terminate ends them for good.';
  return say(
    `${email} is disabled: its sessions have ended, its API tokens are refused, and what is open ends within 5 seconds. ${workflows}`,
  );
}

async function list(db: Db, json: boolean): Promise<number> {
  if (!json) process.stdout.write(`${row('EMAIL', 'ROLE', 'STATE', 'CREATED', 'LAST USED')}\n`);
  let page: ListedUser[] = [];
  do {
    page = await listUsers(db, { after: page.at(-1)?.id ?? NO_ID, limit: PAGE_SIZE });
    for (const user of page) process.stdout.write(`${json ? JSON.stringify(user) : rowOf(user)}\n`);
  } while (page.length === PAGE_SIZE);
  return 0;
}

function rowOf({ email, administrator, disabledAt, createdAt, lastUsedAt }: ListedUser): string {
  const minute = (time: Date | null) => time?.toISOString().slice(0, 16).concat('Z') ?? 'never';
  const role = administrator ? 'administrator' : 'user';
  return row(email, role, disabledAt ? 'disabled' : 'enabled', minute(createdAt), minute(lastUsedAt));
}

function row(email: string, role: string, state: string, created: string, used: string): string {
  return `${email.padEnd(EMAIL_WIDTH_MIN)}  ${role.padEnd(13)}  ${state.padEnd(8)}  ${created.padEnd(17)}  ${used}`;
}

async function newPasswordHash(email: string): Promise<string> {
  const password = await readNewPassword(email);
  const problems = await newCredentialProblems({ email, password });
  if (problems.length > 0) throw new StartupError(problems.map(({ message }) => message).join('\n'));
  return createPasswords().hash(password);
}

function unknown(email: string): number {
  return fail(`No account has the email ${email}: chronoverse users list shows those that there are.`);
}

function say(sentence: string): number {
  process.stdout.write(`${sentence}\n`);
  return 0;
}

function fail(sentence: string): number {
  process.stderr.write(`${sentence}\n`);
  return 1;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/**
 * Makes a change and its row in the audit in one transaction. There is no row if the change
 * concerns no account.
 */
async function audited<Result>(
  db: Db,
  action: string,
  change: (tx: Db) => Promise<Result>,
  accountOf: (result: Result) => string | undefined,
): Promise<Result> {
  return db.transaction(async (tx) => {
    const result = await change(tx);
    const id = accountOf(result);
    if (id !== undefined) await recordAudit(tx, { action, outcome: 'DONE', userId: id, objectId: id });
    return result;
  });
}
