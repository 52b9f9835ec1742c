import fc from 'fast-check';
import type { Choose } from './scheduler.ts';

/**
 * For `steps` steps, the first actor of the list that can take a step takes it, so the last one is
 * nearly frozen. A few changes of priority find more than a new choice at each step (S. Burckhardt
 * et al., A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs, 2010).
 */
export function prioritiesOf(actors: number): fc.Arbitrary<Priority[]> {
  const all = Array.from({ length: actors }, (_, actor) => actor);
  return fc.array(
    fc.record({
      steps: fc.integer({ min: 1, max: 12 }),
      order: fc.shuffledSubarray(all, { minLength: actors }),
      nth: fc.nat({ max: 3 }),
    }),
    { maxLength: 10, size: 'max' },
  );
}

export interface Priority {
  steps: number;
  order: number[];
  /** Which of an actor's steps to take if it has several. */
  nth: number;
}

export function byPriority(given: Priority[]): Choose {
  const left = given.flatMap((priority) => Array.from({ length: priority.steps }, () => priority));
  return (ready) => {
    const priority = left.shift();
    const actor = priority?.order.find((one) => ready.some((choice) => choice.actor === one));
    const own = ready.filter((choice) => choice.actor === actor);
    return (own[(priority?.nth ?? 0) % own.length] ?? ready[0])?.key;
  };
}
