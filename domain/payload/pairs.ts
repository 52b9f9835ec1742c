import { PAIRS_BYTES_MAX, PAIRS_MAX } from '../limits.ts';
import type { Problem } from '../problem.ts';
import { byteCount, isBlank, textProblem } from '../text.ts';
import type { GivenSecret } from './secret.ts';

/** The fields that hold names with values. */
export const PAIRS_KEYS = ['env', 'headers'] as const;
export type PairsKey = (typeof PAIRS_KEYS)[number];

/**
 * The names of a payload's pairs in the order of their author. A payload stores it beside the
 * pairs: jsonb sorts the keys of an object, and JavaScript puts whole numbers first.
 */
export type PairOrder = Partial<Record<PairsKey, string[]>>;

/**
 * An environment variable or a header as it was written. `nameAt` and `valueAt` say where its
 * halves stand.
 */
export interface Pair {
  name: string;
  value: unknown;
  /** When true, `value` may be absent: the stored one is kept. */
  secret?: boolean;
  nameAt: string[];
  valueAt: string[];
}

/**
 * Reads `written` as the value of a secret in the JSON document, such as `{"secret": true}`.
 * Undefined when it has another form.
 */
export function writtenSecret(written: unknown): { value: unknown } | undefined {
  if (typeof written !== 'object' || written === null || !('secret' in written) || written.secret !== true)
    return undefined;
  if (Object.keys(written).some((key) => key !== 'secret' && key !== 'value')) return undefined;
  return { value: 'value' in written ? written.value : undefined };
}

/** What is wrong with `pairs` as the environment of a container. */
export function environmentOf(pairs: readonly Pair[]): Problem[] {
  return check(pairs, {
    what: 'environment variable',
    same: (name) => name,
    nameProblem: (name) => {
      if (name === '') return 'The name of an environment variable must not be empty.';
      if (isBlank(name)) return 'The name of an environment variable must have a character that can be seen.';
      if (name.includes('='))
        return 'The name of an environment variable must not contain "=": the value goes into "value".';
      const problem = textProblem(name);
      return problem && `The name of an environment variable ${problem}.`;
    },
    valueProblem: (value) => {
      const problem = textProblem(value);
      return problem && `The value of an environment variable ${problem}.`;
    },
  });
}

/** What is wrong with `pairs` as the headers of a request. */
export function headersOf(pairs: readonly Pair[]): Problem[] {
  return check(pairs, {
    what: 'header',
    same: (name) => name.toLowerCase(),
    nameProblem: (name) => {
      if (!HEADER_NAME.test(name))
        return 'A header name must be letters, digits and !#$%&\'*+-.^_`|~, like "X-Api-Key".';
      if (name.toLowerCase() === 'host')
        return 'The header Host is set by the request itself: give another one as host_header.';
      if (CONNECTION_HEADERS.has(name.toLowerCase()))
        return `The header ${name} is set by the request itself: leave it out.`;
      return undefined;
    },
    valueProblem: (value) =>
      HEADER_VALUE.test(value) ? undefined : 'A header value must be one line of printable characters.',
  });
}

/** The order of `pairs`, as payloads store it beside the record of them. */
export function orderOf(key: PairsKey, pairs: readonly Pair[] | undefined): PairOrder | undefined {
  return pairs === undefined || pairs.length < 2 ? undefined : { [key]: pairs.map(({ name }) => name) };
}

/** `pairs` in the order of `names`. Those that `names` does not have come last. */
export function inOrder<Value>(pairs: [string, Value][], names: readonly string[] = []): [string, Value][] {
  const places = new Map(names.map((name, place) => [name, place]));
  const placeOf = (name: string) => places.get(name) ?? names.length;
  return pairs.toSorted(([a], [b]) => placeOf(a) - placeOf(b));
}

/** The stored form of `pairs`. Check them first. */
export function pairsRecord(pairs: readonly Pair[]): Record<string, string | GivenSecret> {
  return Object.fromEntries(
    pairs.map(({ name, value, secret }) => [name, secret ? givenSecret(value) : String(value)]),
  );
}

export function givenSecret(value: unknown): GivenSecret {
  return typeof value === 'string' ? { secret: true, value } : { secret: true };
}

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
const HEADER_VALUE = /^[\t\x20-\x7e\u{80}-\u{d7ff}\u{e000}-\u{10ffff}]*$/u;
const CONNECTION_HEADERS = new Set([
  'connection',
  'content-length',
  'expect',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

interface PairRules {
  what: string;
  same: (name: string) => string;
  nameProblem: (name: string) => string | undefined;
  valueProblem: (value: string) => string | undefined;
}

function check(pairs: readonly Pair[], { what, same, nameProblem, valueProblem }: PairRules): Problem[] {
  if (pairs.length > PAIRS_MAX)
    return [{ path: [], message: `There may be at most ${PAIRS_MAX} of these, not ${pairs.length}.` }];
  const problems: Problem[] = [];
  const seen = new Set<string>();
  let bytes = 0;
  for (const { name, value, secret, nameAt, valueAt } of pairs) {
    const wrongName = nameProblem(name);
    if (wrongName) problems.push({ path: nameAt, message: wrongName });
    else if (seen.has(same(name)))
      problems.push({ path: nameAt, message: `The ${what} ${name} must be given once, not twice.` });
    seen.add(same(name));

    if (secret && (value === undefined || value === null)) {
      bytes += byteCount(name);
      continue;
    }
    if (typeof value !== 'string') {
      const message = `The value of a ${what} must be text, or {"secret": true, "value": "..."} in the JSON document.`;
      problems.push({ path: valueAt, message: message.replace('a e', 'an e') });
      continue;
    }
    const wrongValue = valueProblem(value);
    if (wrongValue) problems.push({ path: valueAt, message: wrongValue });
    bytes += byteCount(name) + byteCount(value);
  }
  if (bytes > PAIRS_BYTES_MAX)
    problems.push({ path: [], message: `Names and values together must be at most ${PAIRS_BYTES_MAX} bytes.` });
  return problems;
}
