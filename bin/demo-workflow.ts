import { z } from 'zod';
import type { DemoClient } from './demo-client.ts';

/** One of the demo's workflows. The first start makes it, and later starts find it. */
export interface DemoWorkflow {
  name: string;
  payload: object;
  schedule: { manual: true } | { everyMinutes: number } | { cron: { expressions: string[]; timeZone: string } };
}

export type Say = (line: string) => void;

const WORKFLOWS_MAX = 100;
const errors = z.array(z.object({ message: z.string() }));
const workflow = z.object({
  id: z.string(),
  name: z.string(),
  buildStatus: z.string(),
  terminatedAt: z.string().nullable(),
  build: z.object({ id: z.string(), error: z.string().nullable(), waitingFor: z.string().nullable() }).nullable(),
});
type Workflow = z.infer<typeof workflow>;
const WORKFLOW = 'id name buildStatus terminatedAt build { id error waitingFor }';
const job = z.object({ id: z.string(), status: z.string(), failureMessage: z.string().nullable() });

/** The job that a workflow of the demo has run. */
export interface DemoRun {
  workflowId: string;
  jobId?: string;
  /** Why it did not complete. */
  failure?: string;
}

/**
 * Makes or finds the workflow, runs it once, and prints each line that the subscription brings.
 */
export async function runDemoWorkflow(client: DemoClient, wanted: DemoWorkflow, say: Say): Promise<DemoRun> {
  const found = await findWorkflow(client, wanted.name);
  const ready = await awaitBuild(client, found ?? (await createWorkflow(client, wanted)), say);
  const workflowId = ready.id;
  if (waitsFor(ready) !== undefined) return { workflowId, failure: `its build waits: ${waitsFor(ready)}` };
  if (ready.buildStatus !== 'COMPLETED')
    return { workflowId, failure: `its build is ${ready.buildStatus}: ${ready.build?.error ?? 'no reason'}` };
  // A new workflow at an interval has its first slot at once. Others run on request.
  const runsAtOnce = found === undefined && 'everyMinutes' in wanted.schedule;
  const jobId = runsAtOnce ? await awaitFirstJob(client, ready.id) : await requestRun(client, ready.id);
  const ended = await followJob(client, jobId, say);
  if (ended.status === 'COMPLETED') return { workflowId, jobId };
  return { workflowId, jobId, failure: `its job is ${ended.status}: ${ended.failureMessage ?? 'no reason'}` };
}

/** Goes on with the jobs after `jobId`, until the client closes. */
export async function followWorkflow(client: DemoClient, { workflowId, jobId }: DemoRun, say: Say): Promise<void> {
  let last = jobId;
  for await (const { jobUpdated } of client.subscribe(
    'subscription ($id: ID) { jobUpdated(workflowId: $id) { id status failureMessage } }',
    { id: workflowId },
    z.object({ jobUpdated: job }),
  )) {
    if (jobUpdated.id === last) continue;
    last = jobUpdated.id;
    await followJob(client, last, say);
  }
}

/** Prints the lines of a job, and how it has ended. */
export async function followJob(client: DemoClient, jobId: string, say: Say): Promise<z.infer<typeof job>> {
  say(`job ${jobId}`);
  await followLog(client, jobId, say);
  const ended = await awaitEnd(client, jobId);
  say(ended.status + (ended.failureMessage === null ? '' : `: ${ended.failureMessage}`));
  return ended;
}

/**
 * The workflow of this name, if it still runs. A workflow whose build failed is deleted, so that
 * the caller makes a new one.
 */
export async function findWorkflow(client: DemoClient, name: string): Promise<Workflow | undefined> {
  const { workflows } = await client.request(
    `query ($first: Int) { workflows(first: $first) { nodes { ${WORKFLOW} } } }`,
    { first: WORKFLOWS_MAX },
    z.object({ workflows: z.object({ nodes: z.array(workflow) }) }),
  );
  const found = workflows.nodes.find((node) => node.name === name && node.terminatedAt === null);
  if (found === undefined || !['FAILED', 'CANCELED'].includes(found.buildStatus)) return found;
  await deleteWorkflow(client, found.id);
  return undefined;
}

export async function deleteWorkflow(client: DemoClient, id: string): Promise<void> {
  await client.request(
    'mutation ($input: DeleteWorkflowInput!) { deleteWorkflow(input: $input) { userErrors { message } } }',
    { input: { id } },
    z.object({ deleteWorkflow: z.object({ userErrors: errors }) }),
  );
}

/** Rejects with what is wrong. */
export async function createWorkflow(client: DemoClient, { name, payload, schedule }: DemoWorkflow): Promise<Workflow> {
  const { createWorkflow: made } = await client.request(
    `mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { ${WORKFLOW} } userErrors { message } } }`,
    { input: { name, payload, schedule, maxConsecutiveJobFailuresAllowed: 3 } },
    z.object({ createWorkflow: z.object({ workflow: workflow.nullable(), userErrors: errors }) }),
  );
  return orThrow(made.workflow, made.userErrors);
}

/** The workflow, when its build has ended in any way, or waits for the end of an outage. */
async function awaitBuild(client: DemoClient, found: Workflow, say: Say): Promise<Workflow> {
  if (isBuilt(found)) return found;
  say('its image is being prepared');
  for await (const { workflowUpdated } of client.subscribe(
    `subscription ($id: ID) { workflowUpdated(workflowId: $id) { ${WORKFLOW} } }`,
    { id: found.id },
    z.object({ workflowUpdated: workflow }),
  )) {
    if (isBuilt(workflowUpdated) || waitsFor(workflowUpdated)) return workflowUpdated;
  }
  throw new Error('The subscription workflowUpdated completed before the build had ended.');
}

function isBuilt({ buildStatus }: Workflow): boolean {
  return buildStatus !== 'QUEUED' && buildStatus !== 'STARTED';
}

function waitsFor({ build }: Workflow): string | undefined {
  return build?.waitingFor ?? undefined;
}

async function awaitFirstJob(client: DemoClient, workflowId: string): Promise<string> {
  for await (const { jobUpdated } of client.subscribe(
    'subscription ($id: ID) { jobUpdated(workflowId: $id) { id status failureMessage } }',
    { id: workflowId },
    z.object({ jobUpdated: job }),
  )) {
    return jobUpdated.id;
  }
  throw new Error('The subscription jobUpdated completed before there was a job.');
}

/** The id of a new job. Rejects with what is wrong. */
export async function requestRun(client: DemoClient, id: string): Promise<string> {
  const { runWorkflow } = await client.request(
    'mutation ($input: RunWorkflowInput!) { runWorkflow(input: $input) { job { id status failureMessage } userErrors { message } } }',
    { input: { id } },
    z.object({ runWorkflow: z.object({ job: job.nullable(), userErrors: errors }) }),
  );
  return orThrow(runWorkflow.job, runWorkflow.userErrors).id;
}

async function followLog(client: DemoClient, jobId: string, say: Say): Promise<void> {
  for await (const { jobLogs } of client.subscribe(
    'subscription ($jobId: ID!) { jobLogs(jobId: $jobId) { text } }',
    { jobId },
    z.object({ jobLogs: z.object({ text: z.string() }) }),
  )) {
    for (const line of jobLogs.text.replace(/\n$/, '').split('\n')) say(line);
  }
}

async function awaitEnd(client: DemoClient, jobId: string): Promise<z.infer<typeof job>> {
  let last: z.infer<typeof job> | undefined;
  for await (const { jobUpdated } of client.subscribe(
    'subscription ($jobId: ID) { jobUpdated(jobId: $jobId) { id status failureMessage } }',
    { jobId },
    z.object({ jobUpdated: job }),
  )) {
    last = jobUpdated; // the subscription completes after the terminal state
  }
  if (last === undefined) throw new Error('The subscription jobUpdated completed without a job.');
  return last;
}

function orThrow<T>(made: T | null, userErrors: { message: string }[]): T {
  if (made === null) throw new Error(userErrors.map(({ message }) => message).join(' '));
  return made;
}
