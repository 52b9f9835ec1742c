import { type ExecutionArgs, type ExecutionResult, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Admission } from '../admission/admission.ts';
import type { Context } from '../context.ts';
import { costProblem, operationCost } from './cost.ts';
import { IntrospectionAnswers } from './introspection.ts';

/**
 * Limits the cost of each operation, over HTTP and WebSocket. Expensive operations run few at a
 * time.
 */
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
            return await executeFn(endingBoth(expensive, args.contextValue, leave));
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

/** A mutation that waits gives back both of its turns. */
function endingBoth(args: ExecutionArgs, context: Context, leave: () => void): ExecutionArgs {
  if (getOperationAST(args.document, args.operationName)?.operation !== 'mutation') return args;
  const { client } = context;
  function endTurn(): void {
    client.endTurn?.();
    leave();
  }
  return { ...args, contextValue: { ...context, client: { ...client, endTurn } } };
}

/** An operation above this cost keeps the process busy for more than some tens of milliseconds. */
const EXPENSIVE_COST = 10_000;
