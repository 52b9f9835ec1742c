import type { Broken } from './explore.ts';
import type { Scenario } from './orders.ts';
import { NAMES } from './scenarios.ts';
import { STATES, type State } from './states.ts';
import type { VerbName } from './verbs.ts';

/**
 * An order in the form that is printed and that INTERLEAVINGS_ORDER accepts: `DUE / dispatch*,
 * request / 0.0 1.0`. A star means that the statements of the verb are two steps.
 */
export function written(scenario: Scenario, keys: string[]): string {
  const verbs = scenario.verbs.map((name) => `${name}${scenario.splitting?.includes(name) ? '*' : ''}`);
  return [scenario.state, verbs.join(', '), keys.join(' ')].join(' / ');
}

export function reportOf(scenario: Scenario, { order, wrong }: Broken): string {
  return [
    `From ${scenario.state} this order breaks something:`,
    ...order.steps.map((step) => `  ${step}`),
    ...wrong.map((one) => `-> ${one}`),
    `To see it again: INTERLEAVINGS_ORDER='${written(scenario, order.keys)}' npx vitest run test/interleavings/replay.test.ts`,
  ].join('\n');
}

export function read(text: string): { scenario: Scenario; keys: string[] } {
  const [from = '', names = '', keys = ''] = text.split(' / ');
  const state = Object.keys(STATES).find((one): one is State => one === from);
  if (state === undefined) throw new Error(`There is no state ${from}; there are ${Object.keys(STATES).join('; ')}.`);
  const verbs = names
    .split(', ')
    .map((name) => ({ verb: verbOf(name.replace(/\*$/, '')), isSplit: name.endsWith('*') }));
  const splitting = verbs.flatMap(({ verb, isSplit }) => (isSplit ? [verb] : []));
  return {
    scenario: { state, verbs: verbs.map(({ verb }) => verb), splitting },
    keys: keys.split(' ').filter((key) => key !== ''),
  };
}

function verbOf(name: string): VerbName {
  const verb = NAMES.find((one) => one === name);
  if (verb === undefined) throw new Error(`There is no verb ${name}; there are ${NAMES.join(', ')}.`);
  return verb;
}
