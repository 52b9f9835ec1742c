import { sql } from 'drizzle-orm';
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { defaultDeadline, settledBefore } from '../platform/async/deadline.ts';
import type { TlsMaterial } from '../platform/pem.ts';
import { driverOptions } from './driver-options.ts';
import { SENT_ONCE } from './named.ts';

export type Db = PostgresJsDatabase;

export interface Connection {
  db: Db;
  /**
   * One connection outside the pool, opened on first use. Statements of the pool do not delay it.
   */
  lone: Db;
  close(deadline?: AbortSignal): Promise<void>;
}

const CLOSE_SECONDS = 5;
/**
 * A new connection prepares its statements anew. Those that name the partition of a day add up, so
 * no connection lasts for ever.
 */
export const CONNECTION_SECONDS_MAX = 6 * 3_600;
const RECONNECT_SECONDS_MIN = 0.05;
const RECONNECT_SECONDS_MAX = 1;

/**
 * Makes every query find its rows by an index. During a burst, statistics are stale, and the
 * planner would choose sequential scans, hash joins, and joins with all of a table kept in memory,
 * over tables that have grown since. Compiling a statement (JIT) never pays off either. Without
 * bitmap scans, `id = ANY(...)` visits rows in the order of their ids.
 *
 * So a plan is good for any values, and for a table of any size. Each connection makes it once for
 * a statement, which takes longer than to run most of them. Joins of a set with a table write
 * `id = ANY(ARRAY[u.id])`: an equality would let the planner read all of a table that is small now
 * (test/plans/kept-plans.test.ts).
 */
export const PLANNER = {
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  enable_material: 'off',
  jit: 'off',
  plan_cache_mode: 'force_generic_plan',
};

export interface PoolOptions {
  max: number;
  application: string;
  tls?: TlsMaterial | undefined;
  /** The database cancels a statement that takes longer (57014). Without it, none is cancelled. */
  statementSecondsMax?: number;
}

/**
 * A pool of `max` connections to the database at `url`. It connects on first use and after an
 * outage.
 */
export function connect(url: string, { max, ...options }: PoolOptions): Connection {
  const open = (connections: number) => openPool(url, { max: connections, ...options });
  const [pool, lone] = [open(max), open(1)];
  const close = async (deadline = defaultDeadline()) => {
    const ended = Promise.all([pool, lone].map((client) => client.end({ timeout: CLOSE_SECONDS })));
    await settledBefore(ended, deadline);
  };
  return { db: rooted(openingTransactions(pool)), lone: rooted(openingTransactions(lone)), close };
}

/** The builder's database. The mode of a transaction goes with its BEGIN: no statement sets it. */
function openingTransactions(client: postgres.Sql): Db {
  const db = drizzle(client);
  const { transaction } = db;
  db.transaction = (work, mode) => {
    if (mode === undefined) return transaction.call(db, work) as ReturnType<typeof work>;
    const { isolationLevel = 'read committed', accessMode = 'read write', deferrable } = mode;
    const text = `isolation level ${isolationLevel} ${accessMode}${deferrable === true ? ' deferrable' : ''}`;
    const begin = <T>(begun: Work<T>) => client.begin(text, begun);
    const inMode: postgres.Sql = Object.create(client, { begin: { value: begin } });
    return transaction.call(drizzle(inMode), work) as ReturnType<typeof work>;
  };
  return db;
}

const roots = new WeakMap<object, object>();

/**
 * The database of a transaction, or `db` itself if it is none: the key under which a process keeps
 * what it knows of a database.
 */
export function rootOf(db: object): object {
  return roots.get(db) ?? db;
}

/** Lets its transactions know `root`. */
function rooted<Database extends Pick<Db, 'transaction'>>(db: Database, root: object = db): Database {
  const { transaction } = db;
  db.transaction = (work, config) =>
    transaction.call(
      db,
      (tx) => {
        roots.set(tx, root);
        return work(rooted(tx, root));
      },
      config,
    ) as ReturnType<typeof work>;
  return db;
}

function openPool(url: string, options: PoolOptions): postgres.Sql {
  const { max, application, tls, statementSecondsMax } = options;
  const limit = statementSecondsMax === undefined ? {} : { statement_timeout: statementSecondsMax * 1_000 };
  const client = postgres({
    ...driverOptions(url, {
      tls,
      session: { application_name: application, TimeZone: 'UTC', ...limit, ...PLANNER },
    }),
    max,
    connect_timeout: 10,
    idle_timeout: 60,
    max_lifetime: CONNECTION_SECONDS_MAX,
    backoff: reconnectSeconds,
    onnotice: () => undefined, // notices are for interactive sessions
  });
  prepareTransactions(prepareAll(client));
  return client;
}

/**
 * Seconds until a broken connection is opened again. By default the driver waits up to 20 s, for
 * all connections of a pool and all their statements, but leases expire after 30 s. Loops have
 * their own back-off.
 */
function reconnectSeconds(failures: number): number {
  const full = Math.min(RECONNECT_SECONDS_MAX, RECONNECT_SECONDS_MIN * 2 ** Math.min(failures, 10));
  return full * (0.5 + Math.random() / 2);
}

/**
 * Prepares every statement, whatever drizzle asks for: it sends each query through `unsafe` with
 * `prepare: false`, which takes two round trips and a new plan each time (354 against 149
 * microseconds for the smallest query). There are few statements, with fixed texts, and those of
 * many shapes say so (db/prepared.ts).
 */
function prepareAll<Client extends postgres.ISql>(client: Client): Client {
  const { unsafe } = client;
  client.unsafe = (query, parameters, options) =>
    unsafe(query, parameters, { ...options, prepare: !query.endsWith(SENT_ONCE) });
  return client;
}

type Work<T> = (transaction: postgres.TransactionSql) => T | Promise<T>;

function prepareTransactions(client: postgres.Sql): void {
  const { begin } = client;
  client.begin = <T>(first: string | Work<T>, second?: Work<T>) => {
    const work = typeof first === 'string' ? second : first;
    if (work === undefined) throw new TypeError('A transaction needs something to do.');
    return begin(typeof first === 'string' ? first : '', async (transaction) => {
      const end = endable(prepareAll(transaction));
      try {
        return await work(transaction);
      } finally {
        end();
      }
    });
  };
}

/**
 * Refuses statements of a transaction from the moment at which the returned function is called. The
 * driver would send them on the same connection, which may be inside another transaction by then.
 */
function endable(transaction: postgres.TransactionSql): () => void {
  let isOver = false;
  const { unsafe } = transaction;
  transaction.unsafe = (query, parameters, options) => {
    if (isOver) throw new Error('The transaction of this statement is over.');
    return unsafe(query, parameters, options);
  };
  return () => {
    isOver = true;
  };
}

/**
 * Resolves when the database has stored a write on its disk and on the standby that it waits for,
 * to the database's clock in milliseconds since 1970. Rejects on a standby and where transactions
 * are read-only. Writes a few bytes of write-ahead log.
 */
export async function tryToWrite(db: Pick<Db, 'execute'>): Promise<number> {
  const [row] = await db.execute<{ ms: number }>(sql`
    SELECT /* tryToWrite */ pg_logical_emit_message(true, 'chronoverse', ''::text),
      (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms WHERE current_setting('transaction_read_only') = 'off'`);
  if (row === undefined) throw new Error('The database is read-only.');
  return row.ms;
}

/** Whether the database answers now. */
export async function isDatabaseUp(db: Db): Promise<boolean> {
  try {
    await db.execute('SELECT 1');
    return true;
  } catch {
    return false; // no answer means: not up
  }
}
