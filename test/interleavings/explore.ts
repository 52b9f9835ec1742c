import { areIndependent, type Touches } from './points.ts';
import type { Choice, Choose, Order } from './scheduler.ts';

/**
 * Runs one order from a fresh state and returns what is wrong after it. Returns nothing for an
 * abandoned order.
 */
export type RunOrder = (choose: Choose) => Promise<{ order: Order; wrong: string[] }>;

export interface Broken {
  order: Order;
  wrong: string[];
}

export interface Explored {
  orders: number;
  /** The first orders that break an invariant, at most `brokenMax`. */
  broken: Broken[];
  /** Whether every order was tried, or an equivalent one. */
  isComplete: boolean;
}

interface Node {
  ready: Choice[];
  /** Steps that lead to orders already tried, with the tables that they touch. */
  sleeping: Map<string, Touches>;
  tried: Map<string, Touches>;
  /** The actor of the previous step. */
  last: number;
  /** How often, up to this node, an actor that could continue was left for another. */
  preemptions: number;
  chosen: string;
  /** What the chosen step has touched, including what it has let continue. */
  touched: Touches;
}

/**
 * Tries every order of the actors' steps, depth first, each from a fresh state. Of orders that
 * differ only in the positions of independent steps, it runs one (sleep sets: P. Godefroid,
 * Partial-Order Methods for the Verification of Concurrent Systems, 1996). `preemptionsMax` bounds
 * how often an actor that could continue is left for another one. No order begins after `untilMs`
 * (in the time of performance.now).
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
  let restarts = 0;
  while (explored.orders < ordersMax && performance.now() < untilMs) {
    let depth = 0;
    // The same steps led elsewhere: if the machine stalls, so much time passes that a verb sees
    // other work.
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
    // The run that found these steps was the odd one: it has read what a process then keeps for a
    // minute.
    if (isOther && restarts < RESTARTS_MAX) {
      restarts += 1;
      repeats = 0;
      path.length = 0;
      continue;
    }
    isWhole &&= !isOther;
    repeats = 0;
    if (!backtrack(path, preemptionsMax)) return { ...explored, isComplete: isWhole };
  }
  return explored;
}

const REPEATS_MAX = 10;
const RESTARTS_MAX = 3;

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
 * Chooses a step that was not tried yet. The last actor continues if it can, so that the orders
 * with the fewest switches come first.
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
