import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  GraphQLError,
  type GraphQLSchema,
  getNamedType,
  getOperationAST,
  isAbstractType,
  isCompositeType,
  isInterfaceType,
  isObjectType,
  Kind,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Db } from '../../db/client.ts';
import { inSnapshot } from '../../db/snapshot.ts';
import { AnswerBudget } from '../answer-budget.ts';
import { AnswerRows } from '../answer-rows.ts';
import { type Context, contextAlone } from '../context.ts';
import { createLoaders } from '../loaders.ts';
import { LogPages } from '../logs/page.ts';

/**
 * Answers a query that reads several objects from one snapshot of the database, so that what it
 * shows together was so at one moment: a build beside the status of its workflow, for example. One
 * statement needs no snapshot.
 */
export function snapshots(): Plugin<Context> {
  return {
    onExecute({ args, executeFn, setExecuteFn }) {
      if (getOperationAST(args.document, args.operationName)?.operation !== 'query') return;
      const { objects, logs } = readsOf(args.schema, args.document, args.operationName);
      if (objects + logs <= 1) return;
      const { contextValue } = args;
      if (objects > 1) setExecuteFn((query: ExecutionArgs) => fromSnapshot(query, contextValue, executeFn));
      else setExecuteFn((query: ExecutionArgs) => besideLogs(query, contextValue, executeFn));
    },
  };
}

/**
 * Executes an operation that reads logs beside one list or object. Of jobs and builds that have
 * ended neither the rows nor the logs change, so these need no snapshot, which takes as long as all
 * the rest. If a log still grows, the operation is executed again in one.
 */
async function besideLogs<Result>(
  args: ExecutionArgs,
  context: Context,
  run: (args: ExecutionArgs) => Result | Promise<Result>,
): Promise<Result | ExecutionResult> {
  const logPages = new LogPages(context.services.db, context.budget, { endedOnly: true });
  const result = await run({ ...args, contextValue: { ...contextAlone(context), logPages } });
  if (!logPages.hasMetOpen) return result;
  return fromSnapshot(args, { ...context, budget: new AnswerBudget(), rows: new AnswerRows() }, run);
}

/**
 * Executes an operation with everything that it reads from one snapshot. If the database refuses
 * that, the answer has an error: thrown, it would end a stream, and close a WebSocket. The answer
 * does not wait for the end of the transaction, which cannot change it.
 */
export async function fromSnapshot<Result>(
  args: ExecutionArgs,
  context: Context,
  run: (args: ExecutionArgs) => Result | Promise<Result>,
): Promise<Result | ExecutionResult> {
  const { viewer, services, asker } = context;
  if (!viewer) return run(args); // reads nothing of an account
  return new Promise((resolve) => {
    const answer = async (db: Db) => {
      const load = createLoaders(db, () => viewer.user.id);
      const logPages = new LogPages(db, context.budget);
      const own = { ...contextAlone(context), services: { ...services, db }, load, logPages, isSnapshot: true };
      resolve(await run({ ...args, contextValue: own }));
    };
    services.admission
      .snapshotTurn(asker)
      .then((leave) => inSnapshot(services.db, answer).finally(leave))
      // No effect if there is an answer.
      .catch((error: unknown) => resolve({ errors: [located(error)] }));
  });
}

function located(error: unknown): GraphQLError {
  const originalError = error instanceof Error ? error : new Error(String(error));
  return new GraphQLError(originalError.message, { originalError });
}

/**
 * Whether an operation reads more than `count` objects or lists of objects, each by a statement of
 * its own. The parts of a page are not read by themselves.
 */
export function readsSeveral(
  schema: GraphQLSchema,
  document: DocumentNode,
  operationName: string | null | undefined,
  count: number,
): boolean {
  const { objects, logs } = readsOf(schema, document, operationName);
  return objects + logs > count;
}

/** How many objects and lists an operation reads, and how many fields that are pages of logs. */
interface Reads {
  objects: number;
  logs: number;
}

function readsOf(schema: GraphQLSchema, document: DocumentNode, operationName: string | null | undefined): Reads {
  const operation = getOperationAST(document, operationName);
  const root = operation && schema.getRootType(operation.operation);
  if (!operation || !root) return { objects: 0, logs: 0 };
  const known = counts.get(operation.selectionSet) ?? countOf(schema, document, operation.selectionSet, root);
  counts.set(operation.selectionSet, known);
  return known;
}

/** Documents are parsed once, so this is computed once for each. */
const counts = new WeakMap<SelectionSetNode, Reads>();
const PARTS_OF_PAGE = new Set(['edges', 'node', 'nodes', 'pageInfo']);

/**
 * Whether a field only names the workflow of an object, as most lists of jobs do. Nothing else in
 * the answer depends on these.
 */
function isLabel({ name, selectionSet }: FieldNode): boolean {
  const isSteady = (selection: SelectionNode) => selection.kind === Kind.FIELD && STEADY.has(selection.name.value);
  return name.value === 'workflow' && selectionSet?.selections.every(isSteady) === true;
}

const STEADY = new Set(['__typename', 'id', 'userId', 'name', 'kind', 'createdAt']);

function countOf(
  schema: GraphQLSchema,
  document: DocumentNode,
  selectionSet: SelectionSetNode,
  type: GraphQLCompositeType,
): Reads {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  const walked = new Set<FragmentDefinitionNode>();
  const left: { set: SelectionSetNode; parent: GraphQLCompositeType }[] = [{ set: selectionSet, parent: type }];
  const enter = (set: SelectionSetNode, name: string | undefined, parent: GraphQLCompositeType) => {
    const narrowed = name === undefined ? parent : schema.getType(name);
    if (narrowed && isCompositeType(narrowed)) left.push({ set, parent: narrowed });
  };
  const reads: Reads = { objects: 0, logs: 0 };
  let isOfAnyType = false;
  for (let next = left.pop(); next; next = left.pop()) {
    const { set, parent } = next;
    for (const selection of set.selections) {
      if (selection.kind === Kind.INLINE_FRAGMENT)
        enter(selection.selectionSet, selection.typeCondition?.name.value, parent);
      else if (selection.kind === Kind.FRAGMENT_SPREAD) {
        const fragment = fragments.get(selection.name.value);
        if (!fragment || walked.has(fragment)) continue;
        walked.add(fragment);
        enter(fragment.selectionSet, fragment.typeCondition.name.value, parent);
      } else if (selection.selectionSet) {
        const { value } = selection.name;
        const field = isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[value] : undefined;
        if (!field) continue; // of the schema itself
        const isPart = PARTS_OF_PAGE.has(value) && parent !== schema.getQueryType();
        const isRoot = set === selectionSet;
        const type = getNamedType(field.type).name;
        if (type === LOG_PAGE) reads.logs += 1;
        else if (!isPart && (isRoot || !isLabel(selection))) reads.objects += 1;
        isOfAnyType ||= isAbstractType(schema.getType(type)) && isRoot;
        enter(selection.selectionSet, type, parent);
      }
    }
  }
  // An object of any type takes a statement for each type: too many to send again.
  return isOfAnyType ? { objects: reads.objects + reads.logs, logs: 0 } : reads;
}

const LOG_PAGE = 'LogLineConnection';
