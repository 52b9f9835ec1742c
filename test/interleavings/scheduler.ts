import type { Pauses } from './pauses.ts';
import type { Point, Touches } from './points.ts';
import { realNowMs, sleep, turn } from './real-time.ts';

/** A step that can be taken now. */
export interface Choice {
  /** Names the step in every run of the same order: the actor, and the number of its point. */
  key: string;
  actor: number;
  point: Point;
}

/**
 * Picks the key of the next step. Undefined abandons the order. `last` is what the previous step
 * has touched.
 */
export type Choose = (ready: Choice[], last: Touches) => string | undefined;

export interface Actor {
  name: string;
  run(): Promise<void>;
}

export interface Order {
  /** The steps that were taken, in printed form. */
  steps: string[];
  /** The keys of these steps. */
  keys: string[];
  /** The errors that actors threw. */
  errors: { actor: string; error: unknown }[];
  /** Whether `choose` has given up. */
  isAbandoned: boolean;
}

/** The number of each actor's statements that wait for a lock in the database. */
export type CountBlocked = () => Promise<Map<number, number>>;

const STEPS_MAX = 10_000;
const STUCK_MS_MAX = 30_000;
/**
 * Nearly every answer comes within this time. Only after it does the scheduler ask which statements
 * wait for locks.
 */
const ANSWER_MS = 3;

/**
 * Lets actors run one step at a time. It chooses the next step when everything has come to rest:
 * each sent statement has its answer, or waits for a lock that another actor holds. Such a
 * statement continues on its own when the lock is free.
 */
export class Scheduler {
  readonly #countBlocked: CountBlocked;
  #order: Running | undefined;

  constructor(countBlocked: CountBlocked) {
    this.#countBlocked = countBlocked;
  }

  /** One step of an actor. Runs at once if no order is being run. */
  async step<T>(actor: number, point: Point, act: () => Promise<T>): Promise<T> {
    const order = this.#order;
    if (order === undefined) return act();
    await order.arrive(actor, point);
    return order.fly(actor, point, act);
  }

  /**
   * A statement that pauses between its snapshot and its first lock, in two steps. A statement that
   * never looks for a row is one step.
   */
  async split<T>(actor: number, point: Point, act: () => Promise<T>, pauses: Pauses): Promise<T> {
    const order = this.#order;
    if (order === undefined) return act();
    await order.arrive(actor, snapshotOf(point));
    const answered = new AbortController();
    const { answer } = await order.fly(actor, snapshotOf(point), async () => {
      await pauses.arm(actor);
      const answer = act().finally(() => answered.abort());
      // Its caller gets the error from `answer` below.
      await Promise.race([answer, pauses.waitUntilPaused(actor, answered.signal)]).catch(() => undefined);
      return { answer };
    });
    if (!answered.signal.aborted) await order.arrive(actor, point);
    return order.fly(actor, point, async () => {
      await pauses.resume(actor);
      return answer;
    });
  }

  /** Calls `act` at once. The scheduler waits for its answer before it chooses the next step. */
  async fly<T>(actor: number, point: Point, act: () => Promise<T>): Promise<T> {
    return this.#order === undefined ? act() : this.#order.fly(actor, point, act);
  }

  async run(actors: Actor[], choose: Choose): Promise<Order> {
    const order = new Running(actors, this.#countBlocked);
    this.#order = order;
    try {
      return await order.run(choose);
    } finally {
      this.#order = undefined;
      order.open(); // even after a failure, so that no actor waits forever
    }
  }
}

class Running {
  readonly #actors: Actor[];
  readonly #countBlocked: CountBlocked;
  readonly #waiting = new Map<string, Choice & { go: () => void }>();
  readonly #flying = new Set<{ actor: number; point: Point }>();
  readonly #arrivals: number[];
  /** The calls that waited for a lock at the last query. */
  #blocked: ReadonlySet<object> = new Set();
  #ended = 0;
  /** What was touched since the last choice. */
  #touched: Point[] = [];
  #moved: () => void = () => undefined;
  #isOpen = false; // an abandoned order continues without choices

  constructor(actors: Actor[], countBlocked: CountBlocked) {
    this.#actors = actors;
    this.#countBlocked = countBlocked;
    this.#arrivals = actors.map(() => 0);
  }

  arrive(actor: number, point: Point): Promise<void> {
    if (this.#isOpen) return Promise.resolve();
    const nth = this.#arrivals[actor] ?? 0;
    this.#arrivals[actor] = nth + 1;
    const key = `${actor}.${nth}`;
    return new Promise((go) => {
      this.#waiting.set(key, { key, actor, point, go });
      this.#moved();
    });
  }

  async fly<T>(actor: number, point: Point, act: () => Promise<T>): Promise<T> {
    const flight = { actor, point };
    this.#flying.add(flight);
    try {
      return await act();
    } finally {
      this.#flying.delete(flight);
      this.#touched.push(point);
      this.#moved();
    }
  }

  async run(choose: Choose): Promise<Order> {
    const order: Order = { steps: [], keys: [], errors: [], isAbandoned: false };
    const runs = this.#actors.map(({ name, run }) =>
      run()
        .catch((error: unknown) => order.errors.push({ actor: name, error }))
        .finally(() => {
          this.#ended += 1;
          this.#moved();
        }),
    );
    while (await this.#settled(order.steps)) {
      // The sort is stable, so steps of one actor stay in the order of their arrival.
      const ready = [...this.#waiting.values()].sort((a, b) => a.actor - b.actor);
      if (order.keys.length >= STEPS_MAX) throw new Error(`An order has more than ${STEPS_MAX} steps.`);
      const key = choose(ready, union(this.#touched));
      const choice = key === undefined ? undefined : this.#waiting.get(key);
      if (key !== undefined && choice === undefined)
        throw new Error(`${key} cannot be taken now: ${ready.map((one) => `${one.key} ${one.point.name}`).join(', ')}`);
      if (choice === undefined) {
        order.isAbandoned = true;
        this.open();
        break;
      }
      this.#touched = [choice.point];
      this.#waiting.delete(choice.key);
      order.keys.push(choice.key);
      order.steps.push(`${this.#actors[choice.actor]?.name}: ${choice.point.name}`);
      choice.go();
    }
    await Promise.all(runs);
    return order;
  }

  /** Releases all actors for the rest of the order. */
  open(): void {
    this.#isOpen = true;
    for (const { go } of this.#waiting.values()) go();
    this.#waiting.clear();
  }

  /** Resolves when everything has come to rest, with whether there is a step to choose. */
  async #settled(steps: string[]): Promise<boolean> {
    const since = realNowMs();
    for (;;) {
      await turn(); // actors that could continue have reached their next point or ended
      if (this.#flying.size === 0 || (await this.#areBlocked())) {
        if (this.#waiting.size > 0) return true;
        if (this.#ended === this.#actors.length) return false;
      }
      if (realNowMs() - since > STUCK_MS_MAX)
        throw new Error(`Nothing moves: ${this.#describe()}, after:\n${steps.join('\n')}`);
      await this.#motion();
    }
  }

  #motion(): Promise<void> {
    const moved = new Promise<void>((resolve) => {
      this.#moved = resolve;
    });
    return Promise.race([moved, sleep(ANSWER_MS)]);
  }

  /**
   * Whether all sent statements wait for locks. Asks the database only if no answer has come for a
   * while.
   */
  async #areBlocked(): Promise<boolean> {
    const flights = [...this.#flying];
    if (flights.some((flight) => !this.#blocked.has(flight))) await this.#motion();
    if (flights.length !== this.#flying.size || flights.some((flight) => !this.#flying.has(flight))) return false;
    const counts = await this.#countBlocked();
    await turn();
    const isSame = flights.length === this.#flying.size && flights.every((flight) => this.#flying.has(flight));
    const flightsOf = (actor: number) => flights.filter((flight) => flight.actor === actor).length;
    const areBlocked = isSame && this.#actors.every((_, actor) => (counts.get(actor) ?? 0) === flightsOf(actor));
    this.#blocked = new Set(areBlocked ? flights : []);
    return areBlocked;
  }

  #describe(): string {
    return [...this.#flying].map(({ actor, point }) => `${this.#actors[actor]?.name}: ${point.name}`).join(', ');
  }
}

function snapshotOf({ name, reads, writes }: Point): Point {
  return { name: `snapshot of ${name}`, reads: new Set([...reads, ...writes]), writes: new Set() };
}

function union(points: Touches[]): Touches {
  return {
    reads: new Set(points.flatMap(({ reads }) => [...reads])),
    writes: new Set(points.flatMap(({ writes }) => [...writes])),
  };
}
