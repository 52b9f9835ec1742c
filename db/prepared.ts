import { type Placeholder, sql } from 'drizzle-orm';
import { LRUCache } from 'lru-cache';
import { CONNECTION_SECONDS_MAX, type Db } from './client.ts';
import { SENT_ONCE } from './named.ts';
import { rowMapper } from './row-mapper.ts';

/**
 * A query that is built once for each shape (the set of names with a value), for all connections
 * and transactions, and prepared in each connection. For a page of jobs, building the SQL is half
 * of what the query costs this process, and an unprepared statement needs two round trips (354
 * against 149 microseconds for the smallest query).
 */
export function preparedByShape<Query extends object>(
  build: (db: Db, shape: Shape, name: string) => Query,
): (db: Db, values: Values) => Query {
  const shapes = new LRUCache<string, Query>({ max: SHAPES_MAX });
  let kept = { length: 0, untilMs: 0 };
  function make(db: Db, names: string[], key: string): Query {
    const query = mappedQuickly(build(db, shapeOf(names), `shape_${key}`));
    const text = String(Reflect.get(query, 'queryString'));
    if (kept.length + text.length > KEPT_LENGTH_MAX) Reflect.set(query, 'queryString', `${text} ${SENT_ONCE}`);
    else kept.length += text.length;
    shapes.set(key, query);
    return query;
  }
  return (db, values) => {
    if (performance.now() > kept.untilMs) {
      shapes.clear(); // what connections have kept of them ends with the connections
      kept = { length: 0, untilMs: performance.now() + CONNECTION_SECONDS_MAX * 1_000 };
    }
    const names = Object.keys(values).filter((name) => values[name] !== undefined);
    const key = names.join();
    const known = shapes.get(key) ?? make(db, names, key);
    // The query as it is, sent by the client of this pool or transaction, and logged by its logger.
    const { session } = db._;
    return Object.create(known, {
      client: { value: Reflect.get(session, 'client') },
      logger: { value: Reflect.get(session, 'logger') },
    });
  };
}

const SHAPES_MAX = 1_000;
/**
 * How long the texts of all shapes of a query may be that connections prepare. Callers choose the
 * shape by what they leave out, and by the days that they page through: the plan for a page of a
 * day takes 120 KB of each connection, and of a month 2 MB. Further ones are planned each time.
 */
const KEPT_LENGTH_MAX = 128 * 1024;

/** Replaces how the builder maps the rows of a query, where that can be done. */
function mappedQuickly<Query extends object>(query: Query): Query {
  const parts: object = query; // what the builder has keeps to itself
  const selected: unknown = Reflect.get(parts, 'fields');
  if (!Array.isArray(selected)) throw new TypeError('A prepared query of the builder has fields.');
  const mapper = rowMapper(selected, Reflect.get(parts, 'joinsNotNullableMap'));
  if (mapper) Reflect.set(query, 'customResultMapper', mapper);
  return query;
}

/** The values of a query by name. An undefined value counts as absent. */
export type Values = Record<string, unknown>;

export interface Shape {
  names: readonly string[];
  has(name: string): boolean;
  /**
   * The placeholder for the value of this name. Undefined if the value is absent: the condition is
   * then left out.
   */
  placeholder(name: string): Placeholder | undefined;
}

function shapeOf(names: string[]): Shape {
  return {
    names,
    has: (name) => names.includes(name),
    placeholder: (name) => (names.includes(name) ? sql.placeholder(name) : undefined),
  };
}
