import { LimitExceeded } from '../../db/accounts/user-limits.ts';
import { UnknownAlertChannels } from '../../db/alerts/workflow-channels.ts';
import type { Db } from '../../db/client.ts';
import { once, type Repeatable } from '../../db/idempotency.ts';
import { VolumeBeingRemoved } from '../../db/volumes.ts';
import { canonicalText } from '../../domain/canonical.ts';
import { IDEMPOTENCY_KEY_LENGTH_MAX } from '../../domain/limits.ts';
import type { Problem } from '../../domain/problem.ts';
import { characterCount, textProblem } from '../../domain/text.ts';
import { unknownChannels } from './alert-choice.ts';
import type { SignedInCall } from './mutation.ts';
import { invalid, type UserErrorShape } from './user-error.ts';
import { limitError } from './user-limits.ts';

/** What every input with a key has. */
interface Keyed {
  idempotencyKey?: string | null;
}

export const IDEMPOTENCY_KEY_DESCRIPTION =
  'A text of your choice, 1 to 255 characters. If you repeat the call within 24 hours with the same key and the same input, nothing changes and you get the object that the first call made, as it is now. With another input you get a CONFLICT.';

/** What is wrong with the key in an input, if anything. */
export function idempotencyProblems({ idempotencyKey }: Keyed): Problem[] {
  if (typeof idempotencyKey !== 'string') return [];
  const problem = textProblem(idempotencyKey);
  const count = characterCount(idempotencyKey);
  const message = problem
    ? `The idempotency key ${problem}.`
    : `The idempotency key must have 1 to ${IDEMPOTENCY_KEY_LENGTH_MAX} characters, not ${count}.`;
  return problem || count < 1 || count > IDEMPOTENCY_KEY_LENGTH_MAX ? [{ path: ['idempotencyKey'], message }] : [];
}

interface Change<Result, Row> {
  make(tx: Db): Promise<Result>;
  /** The id of what was made or changed; undefined if nothing was. */
  objectOf(result: Result): string | undefined;
  /** Reads that object for a repeated call. */
  read(id: string): Promise<Row | undefined>;
  /** Fields in which null changes something, and is not the same as left out. */
  nullMatters?: string[];
  /**
   * What is wrong with the input because of the time. The first call may have been in time, so that
   * a repeated one is answered all the same.
   */
  passed?: Problem[];
}

type Changed<Result, Row> =
  | { outcome: 'DONE'; result: Result }
  | { outcome: 'REPEATED'; row: Row }
  | { outcome: 'REFUSED'; userErrors: UserErrorShape[] };

/** Undoes the transaction of a change that comes too late. */
class TooLate extends Error {}

/**
 * Makes a change, once for each key. A change that comes too late, or beyond a limit of its user,
 * is REFUSED and leaves no key behind.
 */
export async function changeOnce<Result, Row>(
  mutation: Repeatable['mutation'],
  { input, viewer, context, audit }: SignedInCall<Keyed>,
  { make, objectOf, read, nullMatters = [], passed = [] }: Change<Result, Row>,
): Promise<Changed<Result, Row>> {
  const { db, sealer } = context.services;
  const change = async (within: Db) => {
    if (passed.length > 0) throw new TooLate();
    return audit.change(within, make, objectOf);
  };
  const { idempotencyKey: key } = input;
  try {
    if (typeof key !== 'string') return { outcome: 'DONE', result: await change(db) };
    const inputDigests = sealer.digests(canonicalText(idempotencyInput(input, nullMatters)));
    const done = await once(db, { userId: viewer.user.id, mutation, key, inputDigests }, change, objectOf);
    if (done.outcome === 'DONE') return done;
    if (done.outcome === 'CONFLICT') return refusal('CONFLICT', OTHER_INPUT, 'idempotencyKey');
    const row = await read(done.objectId);
    return row ? { outcome: 'REPEATED', row } : refusal('NOT_FOUND', PURGED, 'idempotencyKey');
  } catch (error) {
    if (error instanceof TooLate) return { outcome: 'REFUSED', userErrors: invalid(passed).userErrors };
    if (error instanceof LimitExceeded) return { outcome: 'REFUSED', userErrors: [limitError(error)] };
    if (error instanceof UnknownAlertChannels)
      return { outcome: 'REFUSED', userErrors: unknownChannels(error.indices) };
    if (error instanceof VolumeBeingRemoved) return refusal('CONFLICT', volumeSentence(error), 'payload');
    throw error;
  }
}

/**
 * An input without its key, for comparing two calls. Their canonical texts treat null as left out
 * (domain/canonical.ts), so that a null which changes something becomes a text here, which no value
 * of such a field is.
 */
function idempotencyInput({ idempotencyKey: _, ...input }: Keyed, nullMatters: string[]): object {
  const isNull = ([name, value]: [string, unknown]) => value === null && nullMatters.includes(name);
  return {
    ...input,
    ...Object.fromEntries(
      Object.entries(input)
        .filter(isNull)
        .map(([name]) => [name, NULL_TEXT]),
    ),
  };
}

/** Part of stored digests: a change would make a repeated call look like another one for a day. */
const NULL_TEXT = "the installation's";

const OTHER_INPUT = 'This key was used with another input: use a new key for another call.';
const PURGED = 'The object that the first call with this key made has been purged.';

function refusal(code: UserErrorShape['code'], message: string, field: string) {
  return { outcome: 'REFUSED' as const, userErrors: [{ code, message, path: [field] }] };
}

function volumeSentence({ volume }: VolumeBeingRemoved): string {
  return `The volume ${volume} was deleted, but an engine still has it: try again in a moment, or use another name.`;
}
