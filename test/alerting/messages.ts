import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { onTestFinished } from 'vitest';
import type { Alert, AlertMessage, OpenAlertTarget, SendOutcome } from '../../domain/alerts/alert.ts';
import { newId } from '../../domain/ids.ts';
import { createSender, type SenderOptions } from '../../workers/alerting/send.ts';
import { policy } from '../heartbeat/policy.ts';
import { listening } from '../heartbeat/support.ts';

/** A workflow that has failed just now, with `changes`. */
export function alert(changes: Partial<Alert> = {}): Alert {
  const now = new Date();
  return {
    deliveryId: newId(),
    event: 'WORKFLOW_FAILING',
    at: now,
    channelName: 'ops',
    workflow: { id: newId(), name: 'backup' },
    jobId: undefined,
    reason: 'The container exited with code 1.',
    incident: { id: newId(), openedAt: now, resolvedAt: undefined, failures: 3, firstJobId: newId() },
    outage: undefined,
    isWholeIncident: false,
    nextRunAt: new Date(now.getTime() + 60_000),
    logLines: ['copying', 'disk is full'],
    link: 'https://chronoverse.example.com/workflows/1',
    ...changes,
  };
}

export function messageOf(changes: Partial<Alert> = {}): AlertMessage {
  return { kind: 'ALERT', alert: alert(changes) };
}

export function digestOf(count: number, named = count, changes: Partial<Alert> = {}): AlertMessage {
  return { kind: 'DIGEST', id: newId(), count, alerts: Array.from({ length: named }, () => alert(changes)) };
}

/** What a user may write to get a mention, a link, a header or markup into somebody's chat. */
export const HOSTILE =
  '@everyone <!channel> <@U1> <@&1> [x](http://evil.test/a) https://evil.test *b* _i_ ~s~ `c` ```\r\nBcc: a@b.test\u202egnp\u2067 </td><script>alert(1)</script> 😀';

/** Sends once, to loopback alone unless `options` say otherwise. */
export async function sendOnce(
  target: OpenAlertTarget,
  message: AlertMessage = messageOf(),
  { signal = new AbortController().signal, ...options }: Partial<SenderOptions> & { signal?: AbortSignal } = {},
): Promise<SendOutcome> {
  const sender = createSender({ allow: policy('loopback'), ...options });
  try {
    return await sender.send(target, message, signal);
  } finally {
    sender.close();
  }
}

export interface Received {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** A server on loopback that keeps what it receives, and answers as `answer` does. */
export async function stub(answer: (response: ServerResponse) => void = (response) => response.end('ok')) {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const piece of request.setEncoding('utf8')) body += piece;
    received.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
    answer(response);
  });
  const { host, port } = await listening(server);
  onTestFinished(() => server.closeAllConnections());
  return { url: `http://${host}`, host, port, received };
}

/** An answer of a stub with this status. */
export function status(code: number, body = '', headers: Record<string, string> = {}) {
  return (response: ServerResponse): void => void response.writeHead(code, headers).end(body);
}
