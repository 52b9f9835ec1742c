import { type ExecutionArgs, type ExecutionResult, getOperationAST, Kind, print, type SelectionSetNode } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';
import type { Admission } from '../admission/admission.ts';
import type { Context } from '../context.ts';
import { costProblem, operationCost } from './cost.ts';

/** Bounds on what one operation may ask for, over HTTP and WebSocket alike. What is expensive has few turns at a time. */
export function operationLimits(admission: Admission): Plugin<Context> {
  const introspections = new IntrospectionAnswers();
  return {
    async onExecute({ args, executeFn, setExecuteFn, setResultAndStopExecution }) {
      const { asker } = args.contextValue;
      const cost = operationCost(args);
      const problem = costProblem(cost, asker.isAnonymous);
      if (problem) return setResultAndStopExecution({ errors: [problem] });
      const introspection = introspections.keyOf(args);
      const known = introspection === undefined ? undefined : introspections.get(introspection);
      if (known) return setResultAndStopExecution(known);
      if (cost > EXPENSIVE_COST) {
        setExecuteFn(async (expensive: ExecutionArgs) => {
          const leave = await admission.expensiveTurn(asker);
          try {
            return await executeFn(expensive);
          } finally {
            leave();
          }
        });
      }
      if (introspection === undefined) return undefined;
      return { onExecuteDone: ({ result }) => introspections.keep(introspection, result as ExecutionResult) };
    },
  };
}

/** From here on an operation keeps this process busy for more than some tens of milliseconds. */
const EXPENSIVE_COST = 10_000;

type KnownAnswer = ExecutionResult & { stringify: () => string };

/** The schema is the same for all: what a document asks of it and of nothing else is computed, and written, once. */
class IntrospectionAnswers {
  readonly #known = new LRUCache<string, KnownAnswer>({
    max: ANSWERS_MAX,
    maxSize: ANSWERS_LENGTH_MAX,
    sizeCalculation: (answer, key) => answer.stringify().length + key.length,
  });

  /** What tells the answer from others; undefined where more than the schema is asked for. */
  keyOf({ document, operationName, variableValues }: ExecutionArgs): string | undefined {
    const operation = getOperationAST(document, operationName);
    if (operation?.operation !== 'query' || !isOfSchema(operation.selectionSet)) return undefined;
    const used = operation.variableDefinitions?.map(({ variable }) => variableValues?.[variable.name.value]);
    return JSON.stringify([print(document), operationName, used]);
  }

  get(key: string): KnownAnswer | undefined {
    return this.#known.get(key);
  }

  keep(key: string, { data, errors }: ExecutionResult): void {
    if (!data || errors) return;
    const text = JSON.stringify({ data });
    this.#known.set(key, { data, stringify: () => text });
  }
}

const ANSWERS_MAX = 100;
const ANSWERS_LENGTH_MAX = 4_000_000;

function isOfSchema({ selections }: SelectionSetNode): boolean {
  return selections.every(
    (selection) => selection.kind === Kind.FIELD && ['__schema', '__type'].includes(selection.name.value),
  );
}
