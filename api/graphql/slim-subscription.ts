import { createHash } from 'node:crypto';
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
import type { Frame } from '../live/frame.ts';
import type { Batch } from '../logs/batch.ts';
import { LogEvents } from '../logs/events.ts';
import { LogStream } from '../logs/log-stream.ts';
import { LogPages } from '../logs/page.ts';
import { costProblem, operationCost } from './cost.ts';
import { frameOf, GuardedStream, maskResult } from './guarded-stream.ts';
import { executePlanned } from './planned-execution.ts';
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
 * Begins a subscription with the request as it was `sent`, and makes its frames from the part that
 * is kept, each with a place of `semaphore`. What several subscriptions make of one event is made
 * once, if they ask the same of the same user.
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
  const { frames, tails } = sent.contextValue.services;
  const shape = shapeOf(kept, sent.contextValue);
  const make = executor(kept, sent.contextValue, mask);
  if (!(source instanceof LogEvents)) {
    const shared = (event: unknown) =>
      typeof event === 'object' && event !== null ? frames.run(event, shape, () => make(event)) : make(event);
    return new GuardedStream(mapped(source, shared, semaphore), mask);
  }
  const render = (batch: Batch) => {
    const [first] = batch.slices;
    const slices = batch.slices.map(({ chunk, from }) => `${chunk.serial}:${from}`);
    return frames.run(first?.chunk ?? batch, `${shape} ${slices}`, async () => {
      const event = await source.eventOf(batch);
      return event && make(event);
    });
  };
  const stream = new LogStream(source, { tails, key: `${source.key} ${shape}`, render, semaphore });
  return new GuardedStream(stream, mask);
}

/** The function that executes the operation for an event. */
function executor(
  kept: ExecutionArgs,
  contextValue: Context,
  mask: (error: unknown) => GraphQLError,
): (event: unknown) => Promise<Frame> {
  // One statement needs no snapshot, and what the event carries is read only if the field reads it
  // again.
  const isNested = readsSeveral(kept.schema, kept.document, kept.operationName, readsAgain(kept) ? 1 : 2);
  return async (event) => {
    const budget = new AnswerBudget();
    const logPages = new LogPages(contextValue.services.db, budget);
    const own = { ...contextValue, logPages, budget, rows: new AnswerRows() };
    const answer = { ...kept, contextValue: own, rootValue: event };
    const run = (read: ExecutionArgs) => executePlanned(read, execute);
    const result = await (isNested ? fromSnapshot(answer, own, run) : run(answer));
    return frameOf(maskResult(result, mask), cursorOf(event));
  };
}

/**
 * The same for all subscriptions that make the same frame of an event: the document, its variables
 * apart from the cursor, and the user.
 */
function shapeOf({ document, variableValues }: ExecutionArgs, { viewer }: Context): string {
  const found = digests.get(document);
  if (!found) throw new Error('A subscription was not shortened.');
  const { digest, cursorVariable } = found;
  const variables = { ...variableValues, ...(cursorVariable !== undefined && { [cursorVariable]: undefined }) };
  const parts = JSON.stringify([digest, viewer?.user.id, viewer?.kind, variables]);
  return createHash('sha256').update(parts).digest('base64');
}

/**
 * The variable that is only the argument `after` of the field of a subscription, which decides
 * where the events begin and nothing else.
 */
function cursorVariableOf(document: DocumentNode): string | undefined {
  const [root] = getOperationAST(document)?.selectionSet.selections ?? [];
  const after = root?.kind === Kind.FIELD ? root.arguments?.find(({ name }) => name.value === 'after') : undefined;
  if (after?.value.kind !== Kind.VARIABLE) return undefined;
  const { value: name } = after.value.name;
  let uses = 0;
  visit(document, {
    VariableDefinition: () => false,
    Variable: (node) => {
      if (node.name.value === name) uses += 1;
    },
  });
  return uses === 1 ? name : undefined;
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
/** What tells the documents that are kept apart, by their text. */
const digests = new WeakMap<DocumentNode, { digest: string; cursorVariable: string | undefined }>();

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
  const digest = createHash('sha256').update(text).digest('base64');
  digests.set(used.document, { digest, cursorVariable: cursorVariableOf(used.document) });
  return used;
}
