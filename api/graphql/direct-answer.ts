import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ExecutionArgs, ExecutionResult, GraphQLError } from 'graphql';
import { getOperationAST } from 'graphql';
import { processRegularResult, type YogaServerInstance } from 'graphql-yoga';
import type { Context } from '../context.ts';
import { jsonTypeFor } from './acceptance.ts';
import { packedFor } from './compression.ts';
import { bodyParams, isPlainJson } from './request-params.ts';
import type { Transport } from './transport.ts';

interface Engine {
  yoga: YogaServerInstance<Transport, Context>;
  maskError: (error: unknown) => GraphQLError;
}

/** What is sent: the same as the engine would send. */
interface Answer {
  status: number;
  headers: Record<string, string>;
  text: string;
}

/**
 * Answers a query that is sent as JSON and wants JSON, past the engine's own requests and
 * responses, which cost more than many a query. Resolves with false if the engine is to answer: all
 * that is not valid, not signed in or no query. What was read of the request is then kept in
 * `transport`.
 */
export async function answerDirectly(
  { yoga, maskError }: Engine,
  request: IncomingMessage,
  response: ServerResponse,
  transport: Transport,
): Promise<boolean> {
  const type = isPlainJson(request) ? jsonTypeFor(request.headers.accept) : undefined;
  if (type === undefined) return false;
  transport.params = bodyParams(request, transport);
  const run = await prepared(yoga, transport);
  if (!run) return false;
  let answer: Answer;
  try {
    answer = await answerOf(await resultOf(run, maskError), type, yoga);
  } finally {
    transport.turn?.end();
  }
  await send(answer, request, response);
  return true;
}

type Run = () => ExecutionResult | Promise<ExecutionResult>;

/** The function that executes a valid query. Undefined for everything else. */
async function prepared({ getEnveloped }: Engine['yoga'], transport: Transport): Promise<Run | undefined> {
  try {
    const params = await transport.params;
    if (!params) return undefined;
    const { query, operationName, variables: variableValues } = params;
    const engine = getEnveloped({ ...transport, params });
    const document = engine.parse(query);
    if (engine.validate(engine.schema, document).length > 0) return undefined;
    if (getOperationAST(document, operationName)?.operation !== 'query') return undefined;
    const contextValue = await engine.contextFactory();
    const args: ExecutionArgs = { schema: engine.schema, document, operationName, variableValues, contextValue };
    return () => engine.execute(args);
  } catch {
    return undefined; // the engine finds the same problem again, and answers with it
  }
}

async function resultOf(run: Run, maskError: Engine['maskError']): Promise<ExecutionResult> {
  try {
    return await run();
  } catch (error) {
    return { errors: [maskError(error)] };
  }
}

/** The answer with a result. Errors decide about the status and the headers as in the engine. */
async function answerOf(result: ExecutionResult, type: string, { fetchAPI }: Engine['yoga']): Promise<Answer> {
  if (!result.errors) {
    // One that is known already has its text (api/graphql/introspection.ts).
    const stringify =
      'stringify' in result && typeof result.stringify === 'function' ? result.stringify : JSON.stringify;
    return { status: 200, headers: { 'content-type': `${type}; charset=utf-8` }, text: stringify(result) };
  }
  const response = processRegularResult(result, fetchAPI, type);
  return { status: response.status, headers: Object.fromEntries(response.headers), text: await response.text() };
}

async function send({ status, headers, text }: Answer, request: IncomingMessage, response: ServerResponse) {
  const { encoding, body } = await packedFor(request.headers['accept-encoding'], text);
  if (response.destroyed) return; // the client has left
  response.writeHead(status, {
    ...headers,
    ...(encoding !== undefined && { 'content-encoding': encoding }),
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}
