import { setTimeout as delay } from 'node:timers/promises';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { z } from 'zod';
import { expectStream } from './printer.ts';

const FOLLOW =
  'subscription ($id: ID!, $after: String) { jobLogs(jobId: $id, after: $after) { text firstNumber lastNumber cursor } }';
const batch = z.object({ text: z.string(), firstNumber: z.number(), lastNumber: z.number(), cursor: z.string() });
const event = z.object({ data: z.object({ jobLogs: batch }).nullish(), errors: z.unknown().optional() });

export type Transport = 'WEBSOCKET' | 'SSE';

/** What a client that follows a log keeps, over any number of connections. */
export interface Followed {
  texts: string[];
  /** The number of the last received line. */
  last: number;
  cursor: string | undefined;
  /** Whether the server has completed the subscription. */
  complete: boolean;
}

export function nothingYet(): Followed {
  return { texts: [], last: 0, cursor: undefined, complete: false };
}

/**
 * Follows the log over one connection, behind the last cursor, until the log completes or the
 * connection ends. Rejects if a line is missing or repeated, or if the server answers with an
 * error.
 */
export async function follow(
  { url, token, jobId, transport }: { url: string; token: string; jobId: string; transport: Transport },
  followed: Followed,
): Promise<void> {
  const variables = { id: jobId, after: followed.cursor };
  const take = (answer: unknown) => {
    const { data, errors } = event.parse(answer);
    if (!data || errors !== undefined) throw new Error(`The subscription answers ${JSON.stringify(answer)}`);
    const { text, firstNumber, lastNumber, cursor } = data.jobLogs;
    const lines = text.split('\n').slice(0, -1);
    const expected = [followed.last + 1, followed.last + lines.length];
    if (firstNumber !== expected[0] || lastNumber !== expected[1])
      throw new Error(`${expected.join(' to ')} was to come, and what came was ${firstNumber} to ${lastNumber}.`);
    followed.texts.push(...lines);
    followed.last = lastNumber;
    followed.cursor = cursor;
  };
  const open = transport === 'SSE' ? overSse : overWebSocket;
  followed.complete = await open({ url, token, variables, take });
}

interface Connection {
  url: string;
  token: string;
  variables: object;
  take: (answer: unknown) => void;
}

/** Resolves with true if the subscription completed, and with false if the connection was lost. */
async function overWebSocket({ url, token, variables, take }: Connection): Promise<boolean> {
  const client = createClient({
    url: url.replace('http', 'ws'),
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    connectionParams: { authorization: `Bearer ${token}` },
  });
  try {
    return await new Promise<boolean>((resolve, reject) => {
      client.subscribe(
        { query: FOLLOW, variables: { ...variables } },
        {
          next: (answer) => {
            try {
              take(answer);
            } catch (error) {
              reject(error);
            }
          },
          error: () => resolve(false),
          complete: () => resolve(true),
        },
      );
    });
  } finally {
    client.terminate();
  }
}

async function overSse({ url, token, variables, take }: Connection): Promise<boolean> {
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        authorization: `Bearer ${token}`,
      },
      body: JSON.stringify({ query: FOLLOW, variables }),
    });
  } catch {
    return false;
  }
  if (response.body === null) throw new Error('The answer has no body.');
  let rest = '';
  const decoder = new TextDecoder();
  const parts = response.body.getReader();
  for (;;) {
    const part = await parts.read().catch(() => undefined);
    if (part === undefined || part.done) return false;
    const blocks = (rest + decoder.decode(part.value, { stream: true })).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      if (/^event: ?complete/m.test(block)) return true;
      const data = /^data: ?(.+)$/m.exec(block)?.[1];
      if (data !== undefined && data !== '') take(JSON.parse(data));
    }
  }
}

const AGAIN_MS = 100;

/** Reconnects behind the last cursor whenever the connection is lost, until the log is complete. */
export async function followToTheEnd(
  to: Parameters<typeof follow>[0],
  followed: Followed,
  stop: AbortSignal,
): Promise<void> {
  for (;;) {
    await follow(to, followed);
    if (followed.complete || stop.aborted) return;
    await delay(AGAIN_MS);
  }
}

/** Fails unless these are all lines of a printer, with each stream in order. */
export function expectAll({ texts, complete }: Followed): void {
  expectStream(
    'out',
    texts.filter((text) => text.startsWith('out ')),
  );
  expectStream(
    'err',
    texts.filter((text) => text.startsWith('err ')),
  );
  if (!complete) throw new Error('The subscription has not completed.');
}
