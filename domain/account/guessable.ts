import { PASSWORD_LENGTH_MIN } from '../limits.ts';

/**
 * Why `password` is among the first that an attacker on the account of `email` would try, or
 * undefined. The text completes the sentence "The password ...". Case, and different ways to write
 * the same character, make no difference.
 */
export async function guessableProblem(password: string, email: string): Promise<string | undefined> {
  const plain = plainOf(password);
  if (await isCommon(plain))
    return 'is one of the most common ones: choose another, for example four words that nobody puts together';
  if (ownWords(email).some((word) => isPadded(plain, word)))
    return "is the account's email, or the name of this service, with little more: choose one that has nothing to do with them";
  if (piecesOf(plain) < PIECES_MIN || isRepeated(plain))
    return 'is a row of characters, or one that is repeated: choose another, for example four words that nobody puts together';
  return undefined;
}

/**
 * The length that must remain of a password beside a part that is easy to guess: such a part counts
 * for nothing.
 */
const REST_LENGTH_MIN = PASSWORD_LENGTH_MIN;
const OWN_WORD_LENGTH_MIN = 3;
const PIECES_MIN = 4;
const RUN_LENGTH_MIN = 3;
const REPEATED_LENGTH_MAX = 4;
/** Characters that are neighbours on a keyboard or in the alphabet. */
const ROWS = [
  'abcdefghijklmnopqrstuvwxyz',
  '01234567890',
  'qwertyuiop',
  'asdfghjkl',
  'zxcvbnm',
  'qwertzuiop',
  'yxcvbnm',
  'azertyuiop',
  'qsdfghjklm',
];

function plainOf(text: string): string {
  return text
    .normalize('NFKC')
    .replace(/\p{Cf}/gu, '') // invisible characters
    .toLowerCase();
}

/**
 * Whether the password is on the list, alone or with a few digits and signs around it, as in
 * "Password2026!".
 */
async function isCommon(plain: string): Promise<boolean> {
  const common = await commonPasswords();
  const core = plain.replace(/^[^\p{L}]+|[^\p{L}]+$/gu, '');
  return common.has(plain) || (plain.length - core.length < REST_LENGTH_MIN && common.has(core));
}

let loaded: Promise<ReadonlySet<string>> | undefined;

/**
 * The 49,000 most common breached passwords. The list is loaded when the first password is chosen,
 * which takes 50 ms and 5 MB.
 */
function commonPasswords(): Promise<ReadonlySet<string>> {
  loaded ??= import('@zxcvbn-ts/language-common').then(
    ({ dictionary }) => new Set(dictionary['passwords-common'].map(String)),
  );
  return loaded;
}

function ownWords(email: string): string[] {
  const address = plainOf(email);
  const [local = '', domain = ''] = address.split('@');
  const words = [address, local, domain, domain.split('.')[0] ?? '', 'chronoverse'];
  return words.filter((word) => word.length >= OWN_WORD_LENGTH_MIN);
}

function isPadded(plain: string, word: string): boolean {
  return plain.includes(word) && plain.length - word.length < REST_LENGTH_MIN;
}

/**
 * How many pieces the password has. A run such as "cdef", "4321", "wert" or "aaaa" is one piece,
 * and every other character is one too.
 */
function piecesOf(plain: string): number {
  const characters = [...plain];
  let pieces = 0;
  for (let from = 0; from < characters.length; pieces += 1) {
    const length = Math.max(...STEPS.map((follows) => runLength(characters, from, follows)));
    from += length < RUN_LENGTH_MIN ? 1 : length;
  }
  return pieces;
}

type Follows = (first: string, second: string) => boolean;

const STEPS: Follows[] = [
  (first, second) => first === second,
  ...ROWS.flatMap((row): Follows[] => [
    (first, second) => row.includes(first + second),
    (first, second) => row.includes(second + first),
  ]),
];

function runLength(characters: string[], from: number, follows: Follows): number {
  let to = from + 1;
  while (to < characters.length && follows(characters[to - 1] ?? '', characters[to] ?? '')) to += 1;
  return to - from;
}

/** Whether the password repeats a short piece, as in "abcabcab". */
function isRepeated(plain: string): boolean {
  const characters = [...plain];
  return Array.from({ length: REPEATED_LENGTH_MAX }, (_, n) => n + 1).some((period) =>
    characters.every((character, n) => n < period || character === characters[n - period]),
  );
}
