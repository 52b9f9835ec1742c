import {
  createSourceEventStream,
  type DefinitionNode,
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  type FragmentDefinitionNode,
  type GraphQLError,
  getOperationAST,
  Kind,
  type OperationDefinitionNode,
  parse,
  print,
  visit,
} from 'graphql';
import { mapped } from '../../platform/async/iterator.ts';
import type { Semaphore } from '../../platform/async/semaphore.ts';
import { AnswerBudget } from '../answer-budget.ts';
import { AnswerRows } from '../answer-rows.ts';
import type { Context } from '../context.ts';
import { failure } from '../errors.ts';
import { LogPages } from '../logs/page.ts';
import { costProblem, operationCost } from './cost.ts';
import { EVENT_ID, GuardedStream, maskResult, type StreamResult } from './guarded-stream.ts';
import { fromSnapshot, readsSeveral } from './snapshot.ts';

/**
 * The part of a subscription's request that is kept for executing its events, and about how many
 * bytes it takes.
 */
export interface Slim {
  args: ExecutionArgs;
  bytes: number;
}

/**
 * Shortens a subscription to its operation, its fragments and the variables that it uses. A whole
 * request also holds comments, other operations, undeclared variables and extensions, for as long
 * as the subscription lasts. Throws BAD_REQUEST if the rest is too long.
 */
export function slimSubscription({
  schema,
  document,
  operationName,
  variableValues,
  contextValue,
}: ExecutionArgs): Slim {
  const operation = getOperationAST(document, operationName);
  if (!operation) return { args: { schema, document, operationName, contextValue }, bytes: 0 };
  const used = usedDocument(document, operation);
  const names = operation.variableDefinitions?.map(({ variable }) => variable.name.value) ?? [];
  const given = names.filter((name) => variableValues && name in variableValues);
  const variables = JSON.stringify(Object.fromEntries(given.map((name) => [name, variableValues?.[name]])));
  const length = used.length + variables.length;
  if (length > SUBSCRIPTION_LENGTH_MAX) {
    throw failure(
      'BAD_REQUEST',
      `A subscription may have ${SUBSCRIPTION_LENGTH_MAX} characters of document and variables, and this one has ${length}.`,
    );
  }
  const args = { schema, document: used.document, variableValues: JSON.parse(variables), contextValue };
  return { args, bytes: used.length * BYTES_PER_CHARACTER + variables.length };
}

export const SUBSCRIPTION_LENGTH_MAX = 32 * 1024;
const BYTES_PER_CHARACTER = 8; // a parsed document takes about this much

/**
 * Begins a subscription with the request as it was `sent`, and makes its results from the part that
 * is kept, each with a place of `semaphore`.
 */
export async function subscribeSlim(
  sent: ExecutionArgs & { contextValue: Context },
  kept: ExecutionArgs,
  mask: (error: unknown) => GraphQLError,
  semaphore: Semaphore,
): Promise<GuardedStream | ExecutionResult> {
  const problem = costProblem(operationCost(sent), sent.contextValue.asker.isAnonymous);
  if (problem) return { errors: [problem] };
  const source = await createSourceEventStream(sent);
  if (!(Symbol.asyncIterator in source)) return maskResult(source, mask);
  const { contextValue } = sent;
  // One statement needs no snapshot, and what the event carries is read only if the field reads it
  // again.
  const isNested = readsSeveral(kept.schema, kept.document, kept.operationName, readsAgain(kept) ? 1 : 2);
  const resultOf = async (event: unknown) => {
    const budget = new AnswerBudget();
    const logPages = new LogPages(contextValue.services.db, budget);
    const own = { ...contextValue, logPages, budget, rows: new AnswerRows() };
    const answer = { ...kept, contextValue: own, rootValue: event };
    const result: StreamResult = maskResult(
      await (isNested ? fromSnapshot(answer, own, execute) : execute(answer)),
      mask,
    );
    const cursor = cursorOf(event);
    return cursor === undefined ? result : { ...result, [EVENT_ID]: cursor };
  };
  return new GuardedStream(mapped(source, resultOf, semaphore), mask);
}

function readsAgain({ schema, document, operationName }: ExecutionArgs): boolean {
  const [root] = getOperationAST(document, operationName)?.selectionSet.selections ?? [];
  const name = root?.kind === Kind.FIELD ? root.name.value : '';
  return schema.getSubscriptionType()?.getFields()[name]?.extensions.readAgain === true;
}

/** The place of an event in its stream, if the subscription can be resumed after it. */
function cursorOf(event: unknown): string | undefined {
  const hasCursor = typeof event === 'object' && event !== null && 'cursor' in event;
  return hasCursor && typeof event.cursor === 'string' ? event.cursor : undefined;
}

interface Used {
  document: DocumentNode;
  length: number;
}

/** Shared by all subscriptions of the same parsed document. */
const known = new WeakMap<OperationDefinitionNode, Used>();

function usedDocument(document: DocumentNode, operation: OperationDefinitionNode): Used {
  const before = known.get(operation);
  if (before) return before;
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  const definitions = new Set<DefinitionNode>([operation]); // grows during the loop
  for (const definition of definitions) {
    visit(definition, {
      FragmentSpread: ({ name }) => {
        const fragment = fragments.get(name.value);
        if (fragment) definitions.add(fragment);
      },
    });
  }
  const text = print({ kind: Kind.DOCUMENT, definitions: [...definitions] });
  const used = { document: parse(text, { noLocation: true }), length: text.length };
  known.set(operation, used);
  return used;
}
