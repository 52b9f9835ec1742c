import { LimitExceeded } from '../../db/accounts/user-limits.ts';
import type { Db } from '../../db/client.ts';
import { once, type Repeatable } from '../../db/idempotency.ts';
import { VolumeBeingRemoved } from '../../db/volumes.ts';
import { canonicalText } from '../../domain/canonical.ts';
import { IDEMPOTENCY_KEY_LENGTH_MAX } from '../../domain/limits.ts';
import type { Problem } from '../../domain/problem.ts';
import { characterCount, textProblem } from '../../domain/text.ts';
import type { Services } from '../context.ts';
import { refused, type UserErrorShape } from './user-error.ts';
import { limitError } from './user-limits.ts';

/** What an input that has a key has. */
interface Keyed {
  idempotencyKey?: string | null;
}

export const IDEMPOTENCY_KEY_DESCRIPTION =
  'A text of your choice, 1 to 255 characters. Within a day, a call of yours that repeats it with the same input changes nothing and gives what the first one gave, as it is now; with another input it is a CONFLICT.';

export function idempotencyProblems({ idempotencyKey }: Keyed): Problem[] {
  if (typeof idempotencyKey !== 'string') return [];
  const problem = textProblem(idempotencyKey);
  const count = characterCount(idempotencyKey);
  const message = problem
    ? `The idempotency key ${problem}.`
    : `The idempotency key must have 1 to ${IDEMPOTENCY_KEY_LENGTH_MAX} characters, not ${count}.`;
  return problem || count < 1 || count > IDEMPOTENCY_KEY_LENGTH_MAX ? [{ path: ['idempotencyKey'], message }] : [];
}

export type Kept<Result> =
  | { outcome: 'DONE'; result: Result }
  | { outcome: 'REPEATED'; objectId: string }
  | { outcome: 'REFUSED'; userErrors: UserErrorShape[] };

/** Makes `change`, but once where the input has a key. What exceeds a limit of its user is REFUSED, and leaves no key behind. */
export async function keepOnce<Result>(
  services: Pick<Services, 'db' | 'sealer'>,
  call: Pick<Repeatable, 'userId' | 'mutation'> & { input: Keyed },
  change: (db: Db) => Promise<Result>,
  objectOf: (result: Result) => string | undefined,
): Promise<Kept<Result>> {
  try {
    return await makeOnce(services, call, change, objectOf);
  } catch (error) {
    if (error instanceof LimitExceeded) return { outcome: 'REFUSED', ...refused(limitError(error)) };
    if (error instanceof VolumeBeingRemoved) return { outcome: 'REFUSED', ...refused(volumeError(error)) };
    throw error;
  }
}

function volumeError({ volume }: VolumeBeingRemoved): UserErrorShape {
  const message = `The volume ${volume} was deleted, and an engine still has it: try again in a moment, or give another name.`;
  return { code: 'CONFLICT', message, path: ['payload'] };
}

async function makeOnce<Result>(
  { db, sealer }: Pick<Services, 'db' | 'sealer'>,
  { userId, mutation, input }: Pick<Repeatable, 'userId' | 'mutation'> & { input: Keyed },
  change: (db: Db) => Promise<Result>,
  objectOf: (result: Result) => string | undefined,
): Promise<Kept<Result>> {
  const { idempotencyKey: key, ...rest } = input;
  if (typeof key !== 'string') return { outcome: 'DONE', result: await change(db) };
  const done = await once(
    db,
    { userId, mutation, key, inputDigests: sealer.digests(canonicalText(rest)) },
    change,
    objectOf,
  );
  if (done.outcome !== 'CONFLICT') return done;
  return {
    outcome: 'REFUSED',
    ...refused({
      code: 'CONFLICT',
      message: 'This key was given with another input: take a new one for another call.',
      path: ['idempotencyKey'],
    }),
  };
}

/** The answer to a repeated call whose object is there no more. */
export function goneSince(): { userErrors: UserErrorShape[] } {
  return refused({
    code: 'NOT_FOUND',
    message: 'What the first call with this key gave was purged since.',
    path: ['idempotencyKey'],
  });
}
