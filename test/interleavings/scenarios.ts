import fc from 'fast-check';
import type { Scenario } from './orders.ts';
import { statesOf, VERBS, type VerbName } from './verbs.ts';

export const NAMES = Object.keys(VERBS).filter((name): name is VerbName => name in VERBS);

/**
 * Verbs whose statements look for rows by a condition and lock the rows that they find. A commit in
 * between is dangerous.
 */
const LOOKING: VerbName[] = ['dispatch', 'adopt', 'take a turn', 'claim build', 'sweep builds'];

/**
 * Every two verbs, and each with itself: first in one state, then with the statements of the verbs
 * in LOOKING as two steps, then in the other common states, then with all statements as two steps.
 * Each group is shuffled: a slow machine that does not finish then tries different ones each time.
 */
export function pairs(seed: number): Scenario[] {
  const all = NAMES.flatMap((first, at) => NAMES.slice(at).map((second): VerbName[] => [first, second]));
  const inFirst = all.flatMap((verbs) =>
    statesOf(verbs)
      .slice(0, 1)
      .map((state) => ({ state, verbs })),
  );
  const inOthers = all.flatMap((verbs) =>
    statesOf(verbs)
      .slice(1)
      .map((state) => ({ state, verbs })),
  );
  const looking = [...inFirst, ...inOthers].flatMap((scenario) => {
    const splitting = scenario.verbs.filter((name) => LOOKING.includes(name));
    return splitting.length === 0 ? [] : [{ ...scenario, splitting }];
  });
  const split = inFirst.map((scenario) => ({ ...scenario, splitting: scenario.verbs }));
  return [inFirst, looking, inOthers, split].flatMap((scenarios) => shuffled(scenarios, seed));
}

/** One table row for each verb with the states in which it is tried. */
export function table(): string[] {
  return NAMES.map((name) => `| ${name} | ${VERBS[name][0].join('; ')} |`);
}

function shuffled<T>(all: T[], seed: number): T[] {
  return fc.sample(fc.shuffledSubarray(all, { minLength: all.length }), { seed, numRuns: 1 }).flat();
}
