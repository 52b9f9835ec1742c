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
import { AnswerBudget } from '../answer-budget.ts';
import type { Context } from '../context.ts';
import { failure } from '../errors.ts';
import { Stream } from '../live/stoppable.ts';
import type { Semaphore } from '../semaphore.ts';
import { costProblem, operationCost } from './cost.ts';
import { GuardedStream, maskResult } from './guarded-stream.ts';

/** What the events of a subscription are executed with, and about how many bytes of what its client has sent are held for as long as that lasts. */
export interface Slim {
  args: ExecutionArgs;
  bytes: number;
}

/**
 * A request holds what its client has sent: documents with comments and other operations, variables that nothing declares, extensions. Of
 * all that a subscription keeps its operation, the fragments and the variables that this uses. Throws BAD_REQUEST where these are long.
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
const BYTES_PER_CHARACTER = 8; // of a parsed document

/** Begins a subscription as it was `sent`, and makes its events with what is kept of it, in `turns`. */
export async function subscribeSlim(
  sent: ExecutionArgs & { contextValue: Context },
  kept: ExecutionArgs,
  mask: (error: unknown) => GraphQLError,
  turns: Semaphore,
): Promise<GuardedStream | ExecutionResult> {
  const problem = costProblem(operationCost(sent), sent.contextValue.asker.isAnonymous);
  if (problem) return { errors: [problem] };
  const source = await createSourceEventStream(sent);
  if (!(Symbol.asyncIterator in source)) return maskResult(source, mask);
  const { contextValue } = sent;
  const results = new TakingTurns(source, turns, (event) =>
    execute({ ...kept, contextValue: { ...contextValue, budget: new AnswerBudget() }, rootValue: event }),
  );
  return new GuardedStream(results, mask);
}

interface Used {
  document: DocumentNode;
  length: number;
}

/** Shared by all subscriptions that come from the same parsed document. */
const known = new WeakMap<OperationDefinitionNode, Used>();

function usedDocument(document: DocumentNode, operation: OperationDefinitionNode): Used {
  const before = known.get(operation);
  if (before) return before;
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  const definitions = new Set<DefinitionNode>([operation]); // grows while it is gone through
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

/** `source` with each value changed by `map`, in turns. A turn lasts until the next value is asked for, which is when this one has been sent. */
class TakingTurns<From, To> extends Stream<To> {
  readonly #source: AsyncIterator<From>;
  readonly #map: (value: From) => To | Promise<To>;
  readonly #turns: Semaphore;
  #hasTurn = false;
  #ended = false;

  constructor(source: AsyncIterable<From>, turns: Semaphore, map: (value: From) => To | Promise<To>) {
    super();
    this.#source = source[Symbol.asyncIterator]();
    this.#turns = turns;
    this.#map = map;
  }

  async next(): Promise<IteratorResult<To, void>> {
    this.#leave();
    const result = await this.#source.next();
    if (result.done) return { done: true, value: undefined };
    await this.#turns.take();
    this.#hasTurn = true;
    if (!this.#ended) return { done: false, value: await this.#map(result.value) };
    this.#leave();
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<To, void>> {
    this.#ended = true;
    this.#leave();
    await this.#source.return?.();
    return { done: true, value: undefined };
  }

  #leave(): void {
    if (this.#hasTurn) this.#turns.leave();
    this.#hasTurn = false;
  }
}
