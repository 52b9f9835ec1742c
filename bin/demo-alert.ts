import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { z } from 'zod';
import type { DemoClient } from './demo-client.ts';
import {
  createWorkflow,
  type DemoRun,
  deleteWorkflow,
  findWorkflow,
  followJob,
  requestRun,
  type Say,
} from './demo-workflow.ts';

const CHANNEL = 'Demo webhook';
const WORKFLOW = 'Demo alert';
/** A receiver that is slow to answer, and one more attempt. */
const DELIVERY_SECONDS_MAX = 40;
const POLL_MS = 250;

const errors = z.array(z.object({ message: z.string() }));

/** A site on loopback that is down until `recover` is called. */
export interface DemoSite {
  url: string;
  recover(): void;
  close(): Promise<void>;
}

/** Rejects if this machine has no free port. */
export async function openDemoSite(): Promise<DemoSite> {
  let isUp = false;
  const server = createServer((_, response) => {
    response.writeHead(isUp ? 200 : 503).end(isUp ? 'It works again.\n' : 'It is down for the demo.\n');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The site of the demo has no port.');
  return {
    url: `http://127.0.0.1:${address.port}/`,
    recover() {
      isUp = true;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/**
 * Sends alerts to `webhook`, which the operator names with ALERT_WEBHOOK: that a HEARTBEAT of the
 * site fails, and that it works again. Rejects with a sentence if the api refuses something.
 */
export async function runDemoAlert(
  client: DemoClient,
  { webhook, site }: { webhook: string; site: DemoSite },
  say: Say,
): Promise<DemoRun> {
  const channelId = await makeChannel(client, webhook, say);
  // The site of an earlier start had another port.
  const earlier = await findWorkflow(client, WORKFLOW);
  if (earlier !== undefined) await deleteWorkflow(client, earlier.id);
  const { id: workflowId } = await createWorkflow(client, {
    name: WORKFLOW,
    payload: { heartbeat: { endpoint: site.url } },
    schedule: { manual: true },
  });
  say('a site that is down, so that its check fails');
  const failed = await runOnce(client, workflowId, say);
  if (failed.status !== 'FAILED') return { workflowId, failure: 'its check of the site did not fail.' };
  const problem = await awaitDelivery(client, { channelId, workflowId, event: 'WORKFLOW_FAILING' }, say);
  if (problem !== undefined) return { workflowId, failure: problem };
  site.recover();
  say('the site is up again');
  const { jobId, status, failureMessage } = await runOnce(client, workflowId, say);
  if (status !== 'COMPLETED') return { workflowId, jobId, failure: `its job is ${status}: ${failureMessage}` };
  const failure = await awaitDelivery(client, { channelId, workflowId, event: 'WORKFLOW_RECOVERED' }, say);
  return failure === undefined ? { workflowId, jobId } : { workflowId, jobId, failure };
}

async function runOnce(client: DemoClient, workflowId: string, say: Say) {
  const jobId = await requestRun(client, workflowId);
  const { status, failureMessage } = await followJob(client, jobId, say);
  return { jobId, status, failureMessage };
}

/**
 * The secret of a channel that an earlier start has made cannot be read again, so it is replaced.
 */
async function makeChannel(client: DemoClient, url: string, say: Say): Promise<string> {
  const { viewer } = await client.request(
    '{ viewer { alertChannels { id name } } }',
    {},
    z.object({ viewer: z.object({ alertChannels: z.array(z.object({ id: z.string(), name: z.string() })) }) }),
  );
  for (const { id } of viewer.alertChannels.filter(({ name }) => name === CHANNEL))
    await client.request(
      'mutation ($id: ID!) { deleteAlertChannel(input: { id: $id }) { userErrors { message } } }',
      { id },
      z.object({ deleteAlertChannel: z.object({ userErrors: errors }) }),
    );
  const { createAlertChannel: made } = await client.request(
    'mutation ($input: CreateAlertChannelInput!) { createAlertChannel(input: $input) { alertChannel { id target } secret userErrors { message } } }',
    { input: { name: CHANNEL, target: { webhook: { url } } } },
    z.object({
      createAlertChannel: z.object({
        alertChannel: z.object({ id: z.string(), target: z.string() }).nullable(),
        secret: z.string().nullable(),
        userErrors: errors,
      }),
    }),
  );
  const { alertChannel: channel, secret } = made;
  if (channel === null) throw new Error(`ALERT_WEBHOOK: ${made.userErrors.map(({ message }) => message).join(' ')}`);
  say(`alerts go to ${channel.target}, signed with ${secret}`);
  return channel.id;
}

const deliveries = z.object({
  node: z.object({
    deliveries: z.object({
      nodes: z.array(
        z.object({
          event: z.string(),
          status: z.string(),
          error: z.string().nullable(),
          workflow: z.object({ id: z.string() }).nullable(),
        }),
      ),
    }),
  }),
});

interface Expected {
  channelId: string;
  workflowId: string;
  event: string;
}

/** Why the alert was not delivered. Undefined if it was. */
async function awaitDelivery(
  client: DemoClient,
  { channelId, workflowId, event }: Expected,
  say: Say,
): Promise<string | undefined> {
  const deadline = performance.now() + DELIVERY_SECONDS_MAX * 1_000;
  for (;;) {
    const { node } = await client.request(
      'query ($id: ID!) { node(id: $id) { ... on AlertChannel { deliveries(first: 20) { nodes { event status error workflow { id } } } } } }',
      { id: channelId },
      deliveries,
    );
    const found = node.deliveries.nodes.find((one) => one.event === event && one.workflow?.id === workflowId);
    if (found?.status === 'DELIVERED') say(`${event} was delivered`);
    if (found?.status === 'DELIVERED') return undefined;
    const isOver = found !== undefined && found.status !== 'PENDING';
    if (isOver || performance.now() > deadline)
      return `${event} was not delivered to ALERT_WEBHOOK: ${found?.error ?? 'no attempt was made.'}`;
    await setTimeout(POLL_MS);
  }
}
