import { z } from 'zod';

/** A node of the output of EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON). */
export interface Plan {
  type: string;
  relation: string | undefined;
  index: string | undefined;
  /** The conditions on the index and the further conditions on the rows. */
  condition: string;
  /** Whether there are conditions on the index. */
  isByKey: boolean;
  sortKey: string | undefined;
  cte: string | undefined;
  /** The name of the subplan, such as `CTE locked`, if this node is its top. */
  name: string | undefined;
  operation: string | undefined;
  /** Whether this is a semi-join or anti-join, which only tests whether a matching row exists. */
  isExists: boolean;
  conflict: string | undefined;
  isBackward: boolean;
  isHashed: boolean;
  /** The rows that it returned, plus those that it read and discarded. */
  rows: number;
  blocks: number;
  children: Plan[];
}

const nodeSchema: z.ZodType<Plan> = z
  .looseObject({
    'Node Type': z.string(),
    'Relation Name': z.string().optional(),
    'Index Name': z.string().optional(),
    'Index Cond': z.string().optional(),
    Filter: z.string().optional(),
    'Sort Key': z.array(z.string()).optional(),
    'CTE Name': z.string().optional(),
    'Subplan Name': z.string().optional(),
    Operation: z.string().optional(),
    'Join Type': z.string().optional(),
    'Conflict Resolution': z.string().optional(),
    'Scan Direction': z.string().optional(),
    Strategy: z.string().optional(),
    'Actual Rows': z.number().default(0),
    'Actual Loops': z.number().default(0),
    'Rows Removed by Filter': z.number().default(0),
    'Rows Removed by Index Recheck': z.number().default(0),
    'Rows Removed by Join Filter': z.number().default(0),
    'Shared Hit Blocks': z.number().default(0),
    'Shared Read Blocks': z.number().default(0),
    get Plans() {
      return z.array(nodeSchema).default([]);
    },
  })
  .transform((node) => ({
    type: node['Node Type'],
    relation: node['Relation Name']?.replace(/^jobs_(\d{8}|other)$/, 'jobs'),
    index: node['Index Name'],
    condition: `${node['Index Cond'] ?? ''} ${node.Filter?.includes(' OR ') ? '' : (node.Filter ?? '')}`,
    isByKey: node['Index Cond'] !== undefined,
    sortKey: node['Sort Key']?.[0],
    cte: node['CTE Name'],
    name: node['Subplan Name'],
    operation: node.Operation,
    isExists: node['Join Type'] === 'Anti' || node['Join Type'] === 'Semi',
    conflict: node['Conflict Resolution'],
    isBackward: node['Scan Direction'] === 'Backward',
    isHashed: node.Strategy === 'Hashed' || node.Strategy === 'Mixed',
    rows:
      (node['Actual Rows'] +
        node['Rows Removed by Filter'] +
        node['Rows Removed by Index Recheck'] +
        node['Rows Removed by Join Filter']) *
      node['Actual Loops'],
    blocks: node['Shared Hit Blocks'] + node['Shared Read Blocks'],
    children: node.Plans,
  }));

export const explainSchema = z.tuple([z.looseObject({ Plan: nodeSchema })]);

export function nodesOf(plan: Plan): Plan[] {
  return [plan, ...plan.children.flatMap(nodesOf)];
}

/**
 * The most rows that one node of the plan has read, including loops and discarded rows. A statement
 * that reads a whole table shows it here.
 */
export function rowsRead(plan: Plan): number {
  return Math.max(...nodesOf(plan).map((node) => node.rows));
}

/** The keys and indexes of the tables, as lists of columns. */
export interface Keys {
  /** The columns of the primary key, by table. */
  primary: Map<string, string[]>;
  /** The columns of each index, by its name. */
  columns: Map<string, string[]>;
  unique: Set<string>;
}

export interface Target {
  what: string;
  relation: string;
  /** Whether it waits for rows that another session has locked. */
  waits: boolean;
  rows: number;
  /** The order in which the rows come, if it is not that of their ids. */
  disorder: string | undefined;
}

/**
 * The nodes of the statement that lock rows: of which table, whether they wait, and whether the
 * rows come in the order of the primary key.
 */
export function lockTargets({ text, parameters, plan }: Explained, keys: Keys): Target[] {
  const all = nodesOf(plan);
  const look: Look = { all, keys, isSorted: areSorted(parameters) };
  const passesOver = /SKIP LOCKED/i.test(text); // so it never waits
  const targets: Target[] = [];
  /** `outer` is the order of the rows for which the node runs, one after the other. */
  const visit = (node: Plan, outer: string | undefined): void => {
    const [source, inner] = inputsOf(node);
    const disorder = outer ?? (source && disorderOf(source, look));
    if (node.type === 'LockRows') {
      const saysOrder = / ORDER BY [\w".]+ (LIMIT \S+ )?FOR /i.test(text.replace(/\s+/g, ' '));
      const how = saysOrder ? undefined : disorder;
      targets.push({ what: 'a lock', relation: relationOf(node), waits: !passesOver, rows: node.rows, disorder: how });
    }
    if (node.type === 'ModifyTable' && source !== undefined && locks(node, all))
      targets.push({
        what: `${node.operation}`,
        relation: relationOf(node),
        waits: true,
        rows: source.rows,
        disorder,
      });
    for (const child of node.children) visit(child, child === inner && node.type === 'Nested Loop' ? disorder : outer);
  };
  visit(plan, undefined);
  return targets;
}

/**
 * Whether the node can wait for a lock. New rows have no locks, and a statement that has locked
 * rows before it changes them does not wait then.
 */
function locks(node: Plan, all: Plan[]): boolean {
  if (node.operation === 'Insert' && node.conflict === undefined) return false;
  return !all.some((other) => other.type === 'LockRows' && relationOf(other) === node.relation);
}

/**
 * The table that a node reads. For a join it is the last table, which is looked up for each row of
 * the others.
 */
function relationOf(node: Plan): string {
  if (node.relation !== undefined) return node.relation;
  const relations = inputsOf(node)
    .map(relationOf)
    .filter((relation) => relation !== '');
  return (node.isExists ? relations[0] : relations.at(-1)) ?? '';
}

type Explained = { text: string; parameters: unknown[]; plan: Plan };
type Look = { all: Plan[]; keys: Keys; isSorted: boolean };

/** The sort columns that count as the order of ids when rows of several tables are locked. */
const SORTED_BY = /(^|\.)"?(id|workflow_id|source_id|scope_id|user_id)"?$/;

function disorderOf(node: Plan, look: Look): string | undefined {
  const [first] = inputsOf(node);
  const ofFirst = () => first && disorderOf(first, look);
  switch (node.type) {
    case 'Result':
    case 'Limit':
    case 'Materialize':
    case 'Memoize':
    case 'Subquery Scan':
    case 'Unique':
    case 'WindowAgg':
    case 'ModifyTable':
    case 'Nested Loop': // each row of the first input, in turn
      return ofFirst();
    case 'Aggregate':
      return node.isHashed ? 'comes in the order of a hash' : ofFirst();
    case 'Sort':
    case 'Incremental Sort':
      return SORTED_BY.test(node.sortKey ?? '') ? undefined : `is sorted by ${node.sortKey}`;
    case 'Index Scan':
    case 'Index Only Scan':
      return disorderOfIndex(node, look.keys);
    case 'Function Scan':
      return look.isSorted ? undefined : 'unnests ids that are not sorted';
    case 'CTE Scan': {
      const cte = look.all.find((other) => other.name === `CTE ${node.cte}`);
      if (cte === undefined) return `reads ${node.cte}, which is not in the plan`;
      const hasLocks = nodesOf(cte).some(({ type }) => type === 'LockRows' || type === 'ModifyTable');
      return hasLocks ? undefined : disorderOf(cte, look);
    }
    default:
      return `is a ${node.type}`;
  }
}

/**
 * Leaves out columns that are compared with one value: by an index on user and id, the rows of one
 * user come in the order of their ids.
 */
function disorderOfIndex(
  { relation = '', index = '', condition = '', isBackward }: Plan,
  keys: Keys,
): string | undefined {
  const equals = (column: string) => new RegExp(`\\(${column} = (?!ANY)`).test(condition);
  const columns = keys.columns.get(index) ?? [];
  const left = columns.filter((column) => !equals(column));
  const leftOfKey = (keys.primary.get(relation) ?? ['?']).filter((column) => !equals(column));
  const isOne = leftOfKey.length === 0 || (keys.unique.has(index) && (left.length === 0 || columns.length === 0));
  if (isOne) return undefined;
  // Another index that contains the key would give another order, and the planner chooses the
  // index.
  if (leftOfKey.some((column) => condition.includes(`(${column} = ANY`))) return `comes by ${index} as it happens`;
  const isInOrder = !isBackward && leftOfKey.every((column, n) => left[n] === column);
  return isInOrder ? undefined : `comes by ${index}`;
}

/** The inputs of a node, without its subqueries and CTEs. */
function inputsOf(node: Plan): Plan[] {
  return node.children.filter((child) => child.name === undefined);
}

/**
 * Whether the first array of ids among the values is sorted, as the code does before it unnests
 * one.
 */
function areSorted(parameters: unknown[]): boolean {
  const arrays = parameters.filter((value) => typeof value === 'string' && /^\{[0-9a-f-]{36},/.test(value));
  const ids = String(arrays[0] ?? '{}')
    .slice(1, -1)
    .split(',');
  return ids.every((id, n) => n === 0 || (ids[n - 1] ?? '') <= id);
}
