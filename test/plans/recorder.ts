import type postgres from 'postgres';
import { z } from 'zod';
import type { Db } from '../../db/client.ts';
import { explainSchema, type Plan } from './plan.ts';

const MODES = ['custom', 'generic'] as const;

/** A sent statement and its plan at that moment. */
export interface Statement {
  /** The function of db/ that sent the statement. */
  by: string;
  text: string;
  parameters: unknown[];
  /** Planned for these values (custom), or for any values (generic). */
  mode: (typeof MODES)[number];
  /** Statements of the same transaction have the same number. */
  transaction: number;
  /** The statistics of the tables that the planner had. */
  statistics: string;
  plan: Plan;
}

export interface Recorder {
  statistics: string;
  statements: Statement[];
  /** Attributes the statements that are sent while `work` runs to the function `by`. */
  during<Result>(by: string, work: () => Promise<Result>): Promise<Result>;
}

/** A string with several commands has one result each; only EXPLAIN returns rows. */
const answersSchema = z
  .array(z.array(z.looseObject({ 'QUERY PLAN': explainSchema.optional() })))
  .transform((results) => results.flat().flatMap((row) => row['QUERY PLAN'] ?? []));

type Client = Pick<postgres.TransactionSql, 'unsafe'>;

/**
 * The most plans of the same statement by the same function. It may be sent with a few different
 * values.
 */
const EXPLAINED_MAX = 8;

/**
 * Explains each statement of `db` before it is sent, in its transaction, with its values and the
 * settings of its connection. EXPLAIN ANALYZE executes the statement, so its changes are rolled
 * back.
 */
export function record(db: Db): Recorder {
  const statements: Statement[] = [];
  const explained = new Map<string, number>();
  let by = '';
  let transactions = 0;
  const client: postgres.Sql = Reflect.get(db, '$client');
  const { begin } = client;

  const explainIn = async (sql: Client, transaction: number, text: string, parameters: unknown[]) => {
    const call = parameters.length === 0 ? 'cv_plan' : `cv_plan(${parameters.map(literal).join(', ')})`;
    const explain = MODES.map(
      (mode) => `SAVEPOINT plan; SET LOCAL plan_cache_mode = force_${mode}_plan;
        EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE ${call}; ROLLBACK TO SAVEPOINT plan; RELEASE SAVEPOINT plan;`,
    );
    const results: unknown = await sql.unsafe(`PREPARE cv_plan AS ${text}; ${explain.join('')} DEALLOCATE cv_plan`);
    for (const [n, { Plan: plan }] of answersSchema.parse(results).entries()) {
      const mode = MODES[n];
      const { statistics } = recorder;
      if (mode !== undefined) statements.push({ by, transaction, statistics, text, parameters, mode, plan });
    }
  };

  const wrap = (sql: Client, explain: (text: string, parameters: unknown[]) => Promise<void>) => {
    const { unsafe } = sql;
    Reflect.set(sql, 'unsafe', (text: string, parameters?: unknown[], options?: postgres.UnsafeQueryOptions) => {
      const query: object = Reflect.apply(unsafe, sql, [text, parameters, options]);
      const key = `${recorder.statistics} ${by} ${text}`;
      const count = (explained.get(key) ?? 0) + 1;
      explained.set(key, count);
      if (count > EXPLAINED_MAX || by === '' || !/^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b/i.test(text)) return query;
      return explainedFirst(query, () => explain(text, parameters ?? []));
    });
  };

  wrap(client, (text, parameters) =>
    begin((tx) => explainIn(tx, ++transactions, text, parameters)).then(() => undefined),
  );
  const wrapTransaction = (tx: postgres.TransactionSql, transaction: number) => {
    const explaining: Client = { unsafe: tx.unsafe };
    wrap(tx, (text, parameters) => explainIn(explaining, transaction, text, parameters));
    const { savepoint } = tx;
    Reflect.set(tx, 'savepoint', (work: (nested: postgres.TransactionSql) => unknown) =>
      savepoint((nested) => {
        wrapTransaction(nested, transaction);
        return work(nested);
      }),
    );
  };
  Reflect.set(client, 'begin', (options: string, work: (tx: postgres.TransactionSql) => unknown) => {
    const inner = typeof options === 'string' ? work : (options as typeof work);
    return begin(typeof options === 'string' ? options : '', (tx) => {
      wrapTransaction(tx, ++transactions);
      return inner(tx);
    });
  });

  const recorder: Recorder = {
    statistics: '',
    statements,
    during: async (name, work) => {
      by = name;
      try {
        return await work();
      } finally {
        by = '';
      }
    },
  };
  return recorder;
}

/** Sends nothing until the query is awaited, as the driver does; then explains it first. */
function explainedFirst<Query extends object>(query: Query, explain: () => Promise<void>): Query {
  return new Proxy(query, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (key === 'then')
        return (...on: Parameters<Promise<unknown>['then']>) =>
          explain()
            .then(() => target)
            .then(...on);
      if (key === 'values' && typeof value === 'function') return () => explainedFirst(value.call(target), explain);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  if (Buffer.isBuffer(value)) return `'\\x${value.toString('hex')}'`;
  if (value instanceof Date) return `'${value.toISOString()}'`;
  if (Array.isArray(value))
    return `'{${value.map((element) => `"${String(element).replace(/["\\]/g, '\\$&')}"`).join(',')}}'`;
  return `'${String(value).replaceAll("'", "''")}'`;
}

/** The plan of a statement for any values, with the settings of the connection. */
export async function planFor(db: Db, { text, parameters }: Pick<Statement, 'text' | 'parameters'>): Promise<Plan> {
  const client: postgres.Sql = Reflect.get(db, '$client');
  const call = parameters.length === 0 ? 'cv_plan' : `cv_plan(${parameters.map(literal).join(', ')})`;
  const results: unknown = await client.unsafe(
    `PREPARE cv_plan AS ${text}; EXPLAIN (FORMAT JSON) EXECUTE ${call}; DEALLOCATE cv_plan`,
  );
  const [answer] = answersSchema.parse(results);
  if (answer === undefined) throw new Error('EXPLAIN answers with a plan.');
  return answer.Plan;
}
