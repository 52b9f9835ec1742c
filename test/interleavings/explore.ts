import { areIndependent, type Touches } from './points.ts';
import type { Choice, Choose, Order } from './scheduler.ts';

/**
 * Runs one order from a fresh state, and says what is wrong after it: nothing where it was
 * abandoned.
 */
export type RunOrder = (choose: Choose) => Promise<{ order: Order; wrong: string[] }>;

export interface Broken {
  order: Order;
  wrong: string[];
}

export interface Explored {
  orders: number;
  /** The first of the orders that break something, and how many there are. */
  broken: Broken[];
  /** Whether every order was tried, or one that comes to the same. */
  isComplete: boolean;
}

interface Node {
  ready: Choice[];
  /** Steps that lead to what was tried already, with what they touch. */
  sleeping: Map<string, Touches>;
  tried: Map<string, Touches>;
  /** The actor of the step before. */
  last: number;
  /** How often an actor that could go on was left, up to here. */
  preemptions: number;
  chosen: string;
  /** What the chosen step has touched, with what it has let go on. */
  touched: Touches;
}

/**
 * Every order of the actors' steps, depth first, each run from a fresh state. Of orders that differ
 * only in the places of steps that share nothing, one is run (sleep sets: P. Godefroid,
 * Partial-Order Methods for the Verification of Concurrent Systems, 1996). `preemptionsMax` bounds
 * how often an actor that could go on is left for another one, `untilMs` the time (of
 * performance.now) at which no order begins any more.
 */
export async function explore(
  run: RunOrder,
  {
    ordersMax,
    untilMs = Number.POSITIVE_INFINITY,
    preemptionsMax = Number.POSITIVE_INFINITY,
    brokenMax = 1,
  }: { ordersMax: number; untilMs?: number; preemptionsMax?: number; brokenMax?: number },
): Promise<Explored> {
  const path: Node[] = [];
  const explored: Explored = { orders: 0, broken: [], isComplete: false };
  let isWhole = true;
  let repeats = 0;
  while (explored.orders < ordersMax && performance.now() < untilMs) {
    let depth = 0;
    // The same steps led elsewhere: on a machine that stood still, so much time passes that a verb
    // sees other work.
    let isOther = false;
    const { order, wrong } = await run((ready, last) => {
      const before = path[depth - 1];
      if (before !== undefined) before.touched = last;
      const node = path[depth] ?? begin(ready, before, preemptionsMax);
      isOther = node !== undefined && !ready.some(({ key }) => key === node.chosen);
      if (node === undefined || isOther) return undefined;
      if (depth === path.length) path.push(node);
      depth += 1;
      return node.chosen;
    });
    explored.orders += order.isAbandoned ? 0 : 1;
    if (wrong.length > 0) explored.broken.push({ order, wrong });
    if (explored.broken.length >= brokenMax) return explored;
    if (isOther && repeats < REPEATS_MAX) {
      repeats += 1;
      continue;
    }
    isWhole &&= !isOther;
    repeats = 0;
    if (!backtrack(path, preemptionsMax)) return { ...explored, isComplete: isWhole };
  }
  return explored;
}

const REPEATS_MAX = 3;

function begin(ready: Choice[], before: Node | undefined, preemptionsMax: number): Node | undefined {
  const seen = before === undefined ? [] : [...before.sleeping, ...before.tried];
  const node: Node = {
    ready,
    sleeping: new Map(seen.filter(([key, touches]) => key !== before?.chosen && isIndependent(touches, before))),
    tried: new Map(),
    last: before === undefined ? -1 : actorOf(before, before.chosen),
    preemptions: before === undefined ? 0 : before.preemptions + (isPreemption(before, before.chosen) ? 1 : 0),
    chosen: '',
    touched: { reads: new Set(), writes: new Set() },
  };
  return choose(node, preemptionsMax) ? node : undefined;
}

/**
 * Chooses what was not tried yet. The actor that went last goes on where it can, so that the orders
 * with the fewest changes come first.
 */
function choose(node: Node, preemptionsMax: number): boolean {
  const free = node.ready.filter(
    ({ key }) =>
      !node.tried.has(key) &&
      !node.sleeping.has(key) &&
      !(node.preemptions >= preemptionsMax && isPreemption(node, key)),
  );
  const choice = free.find(({ actor }) => actor === node.last) ?? free[0];
  if (choice === undefined) return false;
  node.chosen = choice.key;
  node.touched = choice.point;
  return true;
}

function isIndependent(touches: Touches, before: Node | undefined): boolean {
  return before !== undefined && areIndependent(touches, before.touched);
}

function isPreemption(node: Node, key: string): boolean {
  return actorOf(node, key) !== node.last && node.ready.some(({ actor }) => actor === node.last);
}

function actorOf(node: Node, key: string): number {
  return node.ready.find((choice) => choice.key === key)?.actor ?? -1;
}

function backtrack(path: Node[], preemptionsMax: number): boolean {
  for (let node = path.at(-1); node !== undefined; node = path.at(-1)) {
    node.tried.set(node.chosen, node.touched);
    if (choose(node, preemptionsMax)) return true;
    path.pop();
  }
  return false;
}
