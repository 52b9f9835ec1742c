import type postgres from 'postgres';
import { z } from 'zod';
import type { Db } from '../../db/client.ts';

/**
 * The tables that a step reads, and those that it writes or locks. Two steps may change places if
 * neither writes what the other touches.
 */
export interface Touches {
  reads: ReadonlySet<string>;
  writes: ReadonlySet<string>;
}

/** A place at which an actor waits until the scheduler lets it continue. */
export interface Point extends Touches {
  /** The printed name, such as `UPDATE jobs`. */
  name: string;
}

export interface Stepper {
  /** Makes the actor wait at `point`, then calls `act`. */
  step<T>(point: Point, act: () => Promise<T>): Promise<T>;
  /** Calls `act` at once; the scheduler waits for its answer. */
  fly<T>(point: Point, act: () => Promise<T>): Promise<T>;
  /**
   * If statements are two steps: the condition for their WHERE that pauses between snapshot and
   * first lock.
   */
  pauseCondition(): string | undefined;
  /**
   * A point for the answer to the call at `point`: used for commits and for statements outside
   * transactions.
   */
  answer(point: Point): Promise<void>;
  /** Two steps: `act` sends a statement that contains the pause condition. */
  split<T>(point: Point, act: () => Promise<T>): Promise<T>;
}

/**
 * Makes every statement and every commit through `db` a step. It changes the client of the driver,
 * below all query builders, so that no statement is missed. The code under test does not notice.
 */
export function stepStatements(db: Db, stepper: Stepper): void {
  const client = clientOf(db);
  stepQueries(client, stepper);
  const { begin } = client;
  client.begin = async <T>(first: string | Work<T>, second?: Work<T>) => {
    const work = typeof first === 'string' ? second : first;
    if (work === undefined) throw new TypeError('A transaction needs something to do.');
    const touched = { reads: new Set<string>(), writes: new Set<string>() };
    let answered = (): void => undefined;
    const answer = new Promise<void>((resolve) => {
      answered = resolve;
    });
    let ending: Promise<void> | undefined;
    /** Resolves when the transaction may end. The driver ends it when its callback returns. */
    const granted = (name: string) =>
      new Promise<void>((resolve) => {
        ending = stepper.step({ name, reads: new Set(), writes: touched.writes }, () => {
          resolve();
          return answer;
        });
      });
    let opened = (): void => undefined;
    const opening = new Promise<void>((resolve) => {
      opened = resolve;
    });
    void stepper.fly({ name: 'begin', reads: new Set(), writes: new Set() }, () => opening);
    try {
      return await begin(typeof first === 'string' ? first : '', async (tx) => {
        opened();
        stepQueries(tx, stepper, touched);
        stepSavepoints(tx, stepper, touched);
        try {
          return await work(tx);
        } catch (error) {
          await granted('rollback');
          throw error;
        } finally {
          if (ending === undefined) await granted('commit');
        }
      });
    } finally {
      opened();
      answered();
      await ending;
      await stepper.answer({ name: 'commit', reads: new Set(), writes: touched.writes });
    }
  };
}

type Work<T> = (transaction: postgres.TransactionSql) => T | Promise<T>;

const Client = z.custom<postgres.Sql>((value) => typeof value === 'function' && 'unsafe' in value && 'begin' in value);

function clientOf(db: Db): postgres.Sql {
  return Client.parse('$client' in db ? db.$client : undefined);
}

type Touched = Record<'reads' | 'writes', Set<string>>;

function stepQueries(client: postgres.ISql, stepper: Stepper, touched?: Touched): void {
  const { unsafe } = client;
  client.unsafe = (query, parameters, options) => {
    const condition = stepper.pauseCondition();
    const text = condition === undefined ? query : query.replace(FIRST_WHERE, `$& ${condition} AND `);
    const isSplit = text !== query;
    return stepQuery(unsafe(text, parameters, options), query, isSplit, stepper, touched);
  };
}

/**
 * The first WHERE of a statement. A true condition in it does not change the meaning of the
 * statement.
 */
const FIRST_WHERE = /(?<!\()\bWHERE\b/i;

function stepQuery<Pending extends Promise<unknown> & { values(): unknown }>(
  pending: Pending,
  query: string,
  isSplit: boolean,
  stepper: Stepper,
  touched?: Touched,
): Pending {
  if (/^begin\b/i.test(query)) return pending; // takes no snapshot and no lock
  const point = pointOf(query);
  for (const kind of ['reads', 'writes'] as const) for (const table of point[kind]) touched?.[kind].add(table);
  const take = isSplit ? stepper.split : stepper.step;
  const stepped: Pending = new Proxy(pending, {
    get(target, key): unknown {
      if (key === 'then')
        return (...handlers: Parameters<Pending['then']>) =>
          take(point, async () => await target)
            .finally(() => (touched === undefined ? stepper.answer(point) : undefined))
            .then(...handlers);
      if (key === 'values')
        return () => {
          target.values();
          return stepped;
        };
      throw new Error(`Only awaiting a query is a step: ${String(key)}`);
    },
  });
  return stepped;
}

function stepSavepoints(tx: postgres.TransactionSql, stepper: Stepper, touched: Touched): void {
  const { savepoint } = tx;
  tx.savepoint = <T>(first: string | Work<T>, second?: Work<T>) => {
    const work = typeof first === 'string' ? second : first;
    if (work === undefined) throw new TypeError('A savepoint needs something to do.');
    return savepoint((nested) => {
      stepQueries(nested, stepper, touched);
      stepSavepoints(nested, stepper, touched);
      return work(nested);
    });
  };
}

const known = new Map<string, Point>();

/**
 * The point of a statement by the tables that its text names. Names of CTEs among them do no harm.
 */
function pointOf(query: string): Point {
  const point = known.get(query) ?? read(query);
  known.set(query, point);
  return point;
}

function read(query: string): Point {
  const reads = new Set<string>();
  const writes = new Set<string>();
  const text = query.replace(/--.*|\/\*.*?\*\//g, '').replace(/\s+/g, ' ');
  const locks = /\bFOR (NO KEY )?UPDATE\b/i.test(text);
  let name = '';
  for (const [, verb = '', table = ''] of text.matchAll(WORDS)) {
    const word = verb.toUpperCase();
    const isRead = word === 'FROM' || word === 'JOIN';
    if (isRead && !locks) reads.add(table);
    else writes.add(table);
    if (word === 'INSERT INTO') for (const referred of REFERRED) reads.add(referred);
    if (name === '' || (!isRead && NAMELESS.test(name))) name = `${isRead ? (locks ? 'lock' : 'read') : word} ${table}`;
  }
  return { name: name || text.slice(0, 40), reads, writes };
}

const WORDS = /(?<!\bFOR |\bKEY |\bDO )\b(UPDATE|INSERT INTO|DELETE FROM|FROM|JOIN)\s+"?([a-z_]+)"?/gi;
/** The name of a statement that writes comes from the tables that it writes. */
const NAMELESS = /^(read|lock)/;
/** An insert checks that the referenced rows exist. */
const REFERRED = ['users', 'workflows'];

/** Whether two steps have the same result in either order. */
export function areIndependent(a: Touches, b: Touches): boolean {
  return !meet(a.writes, b.writes) && !meet(a.writes, b.reads) && !meet(a.reads, b.writes);
}

function meet(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  for (const one of a) if (b.has(one)) return true;
  return false;
}
