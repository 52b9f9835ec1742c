import { NAMES } from './casts.ts';
import type { Broken } from './explore.ts';
import type { Cast } from './orders.ts';
import { STATES, type State } from './states.ts';
import type { VerbName } from './verbs.ts';

/** An order as it is printed, and as INTERLEAVINGS_ORDER takes it: `DUE / dispatch*, request / 0.0 1.0`; a star: its statements are two steps. */
export function written(cast: Cast, keys: string[]): string {
  const verbs = cast.verbs.map((name) => `${name}${cast.splitting?.includes(name) ? '*' : ''}`);
  return [cast.state, verbs.join(', '), keys.join(' ')].join(' / ');
}

export function reportOf(cast: Cast, { order, wrong }: Broken): string {
  return [
    `From ${cast.state} this order breaks something:`,
    ...order.steps.map((step) => `  ${step}`),
    ...wrong.map((one) => `-> ${one}`),
    `To see it again: INTERLEAVINGS_ORDER='${written(cast, order.keys)}' npx vitest run test/interleavings/replay.test.ts`,
  ].join('\n');
}

export function read(text: string): { cast: Cast; keys: string[] } {
  const [from = '', names = '', keys = ''] = text.split(' / ');
  const state = Object.keys(STATES).find((one): one is State => one === from);
  if (state === undefined) throw new Error(`There is no state ${from}; there are ${Object.keys(STATES).join('; ')}.`);
  const verbs = names
    .split(', ')
    .map((name) => ({ verb: verbOf(name.replace(/\*$/, '')), isSplit: name.endsWith('*') }));
  const splitting = verbs.flatMap(({ verb, isSplit }) => (isSplit ? [verb] : []));
  return {
    cast: { state, verbs: verbs.map(({ verb }) => verb), splitting },
    keys: keys.split(' ').filter((key) => key !== ''),
  };
}

function verbOf(name: string): VerbName {
  const verb = NAMES.find((one) => one === name);
  if (verb === undefined) throw new Error(`There is no verb ${name}; there are ${NAMES.join(', ')}.`);
  return verb;
}
