import { maxAliasesPlugin } from '@escape.tech/graphql-armor-max-aliases';
import { maxDepthPlugin } from '@escape.tech/graphql-armor-max-depth';
import { parse } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { costProblem } from './cost.ts';

/** Bounds on what one document may ask for, over HTTP and WebSocket alike. */
export function limitPlugins(): Plugin[] {
  return [
    maxDepthPlugin({ n: DEPTH_MAX }),
    maxAliasesPlugin({ n: ALIASES_MAX }),
    {
      onParse({ setParseFn }) {
        setParseFn((source: string, options?: object) => parse(source, { ...options, maxTokens: TOKENS_MAX }));
      },
      onExecute({ args, setResultAndStopExecution }) {
        const problem = costProblem(args);
        if (problem) setResultAndStopExecution({ errors: [problem] });
      },
      onSubscribe({ args, setResultAndStopExecution }) {
        const problem = costProblem(args);
        if (problem) setResultAndStopExecution({ errors: [problem] });
      },
    },
  ];
}

export const DEPTH_MAX = 12; // of introspection nothing is counted
export const ALIASES_MAX = 30;
export const TOKENS_MAX = 5_000;
