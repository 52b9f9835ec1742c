import type { IncomingMessage, ServerResponse } from 'node:http';
import { getOperationAST } from 'graphql';
import type { YogaServerInstance } from 'graphql-yoga';
import type { Context } from '../context.ts';
import { acceptsEvents } from './acceptance.ts';
import { type BegunStreams, EVENT_HEADERS } from './event-stream.ts';
import type { GuardedStream } from './guarded-stream.ts';
import { bodyParams, isPlainJson, queryParams } from './request-params.ts';
import type { Transport } from './transport.ts';

/**
 * Begins a subscription that wants events, and sends their head, past the engine's own requests and
 * responses. Resolves with undefined if the engine is to answer: all that is not valid, begins no
 * stream, or is no subscription. What was read of the request is then kept in `transport`.
 */
export async function subscribeDirectly(
  { yoga, begun }: { yoga: YogaServerInstance<Transport, Context>; begun: BegunStreams },
  request: IncomingMessage,
  response: ServerResponse,
  transport: Transport,
): Promise<GuardedStream | undefined> {
  if (!acceptsEvents(request.headers.accept)) return undefined;
  if (request.method === 'GET') transport.params ??= queryParams(request, transport);
  else if (isPlainJson(request)) transport.params ??= bodyParams(request, transport);
  if (!transport.params) return undefined;
  await begin(yoga, transport);
  const found = begun.get(transport.client);
  if (!found) return undefined;
  transport.turn?.end();
  response.writeHead(200, EVENT_HEADERS);
  return found.stream;
}

async function begin({ getEnveloped }: YogaServerInstance<Transport, Context>, transport: Transport): Promise<void> {
  try {
    const params = await transport.params;
    if (!params) return;
    const { query, operationName, variables: variableValues } = params;
    const engine = getEnveloped({ ...transport, params });
    const document = engine.parse(query);
    if (engine.validate(engine.schema, document).length > 0) return;
    if (getOperationAST(document, operationName)?.operation !== 'subscription') return;
    const contextValue = await engine.contextFactory();
    await engine.subscribe({ schema: engine.schema, document, operationName, variableValues, contextValue });
  } catch {
    // The engine finds the same problem again, and answers with it.
  }
}
