import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { z } from 'zod';

/** Talks to the api as any client does: queries over HTTP, subscriptions over a WebSocket. */
export interface DemoClient {
  request<T>(document: string, variables: Record<string, unknown>, data: z.ZodType<T>): Promise<T>;
  subscribe<T>(document: string, variables: Record<string, unknown>, data: z.ZodType<T>): AsyncGenerator<T>;
  close(): Promise<void>;
}

const response = z.object({ data: z.unknown(), errors: z.array(z.object({ message: z.string() })).optional() });

/**
 * `token` belongs to a session. Without it, only requests that need no account work. Everything
 * rejects with the server's error messages.
 */
export function createDemoClient(url: string, token?: string): DemoClient {
  const authorization: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const socket = createClient({
    url: url.replace(/^http/, 'ws'),
    webSocketImpl: WebSocket,
    connectionParams: authorization,
  });
  return {
    async request(query, variables, schema) {
      const answer = await fetch(url, {
        method: 'POST',
        headers: { ...authorization, 'content-type': 'application/json', accept: 'application/json' },
        body: JSON.stringify({ query, variables }),
      });
      return unwrap(await answer.json(), schema);
    },
    async *subscribe(query, variables, schema) {
      for await (const result of socket.iterate({ query, variables })) yield unwrap(result, schema);
    },
    close: async () => socket.dispose(),
  };
}

function unwrap<T>(answer: unknown, schema: z.ZodType<T>): T {
  const { data, errors } = response.parse(answer);
  if (errors !== undefined && errors.length > 0) throw new Error(errors.map(({ message }) => message).join(' '));
  return schema.parse(data);
}
