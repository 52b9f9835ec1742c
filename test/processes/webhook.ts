import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';
import { onTestFinished } from 'vitest';
import { z } from 'zod';
import { listening } from '../heartbeat/support.ts';

export interface Received {
  headers: Record<string, string>;
  body: string;
}

/** A webhook on loopback that answers every message with `status`. */
export async function receiver(status: number) {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const piece of request.setEncoding('utf8')) body += piece;
    const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)]);
    received.push({ headers: Object.fromEntries(headers), body });
    response.writeHead(status).end();
  });
  const { host } = await listening(server);
  onTestFinished(() => server.closeAllConnections());
  return { url: `http://${host}/alerts`, received };
}

const message = z.object({
  type: z.string(),
  data: z.object({ title: z.string(), incident: z.object({ id: z.string() }) }),
});

/** The messages of a demo, verified with the secret in its output. */
export function verified(received: Received[], output: string): z.infer<typeof message>[] {
  const [, secret = ''] = /^alert \| alerts go to 127\.0\.0\.1:\d+\/…, signed with (whsec_\S+)$/m.exec(output) ?? [];
  const webhook = new Webhook(secret);
  return received.map(({ body, headers }) => message.parse(webhook.verify(body, headers)));
}
