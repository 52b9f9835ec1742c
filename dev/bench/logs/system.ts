import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pino from 'pino';
import { z } from 'zod';
import { createDemoClient, type DemoClient } from '../../../bin/demo-client.ts';
import { migrate } from '../../../db/migrate/migrate.ts';
import { createDocker, type Docker } from '../../../platform/docker/docker.ts';
import { type BenchDatabase, benchDatabase } from '../database.ts';
import { type BenchProcess, startProcess } from '../processes.ts';

export const IMAGE = process.env.DEMO_IMAGE ?? 'alpine:3';
export const ASK_MS = 20;

/** A batch of a followed log as text. */
export const textBatch = z.object({ jobLogs: z.object({ text: z.string(), lastNumber: z.number() }) });

/** The processes that a log passes through, on real servers, with their own database and topics. */
export interface System {
  database: BenchDatabase;
  docker: Docker;
  client: DemoClient;
  userId: string;
  token: string;
  topicPrefix: string;
  processes: Record<'api' | 'joblogs' | 'scheduling' | 'workflow', BenchProcess>;
  /** Replaces the workflow worker by one that reaches the engine at this address. */
  reachEngineAt(host: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startSystem(): Promise<System> {
  const database = await benchDatabase('logs');
  await migrate(database.url);
  const prefix = `cvbench${process.pid}.`;
  const env = {
    DATABASE_URL: database.url,
    KAFKA_TOPIC_PREFIX: prefix,
    REDIS_PREFIX: prefix,
    SECRET_KEY: '00'.repeat(32),
    PORT: '0',
  };
  const processes = {
    api: await startProcess(['api'], env, { inspect: true }),
    joblogs: await startProcess(['worker', 'joblogs'], env),
    workflow: await startProcess(['worker', 'workflow'], env),
    scheduling: await startProcess(['worker', 'scheduling'], env),
  };
  const anonymous = createDemoClient(processes.api.url);
  const { signUp } = await anonymous.request(
    'mutation ($input: SignUpInput!) { signUp(input: $input) { token user { id } userErrors { message } } }',
    { input: { email: 'bench@example.com', password: randomBytes(16).toString('hex') } },
    z.object({ signUp: z.object({ token: z.string(), user: z.object({ id: z.string() }) }) }),
  );
  await anonymous.close();
  const client = createDemoClient(processes.api.url, signUp.token);
  const docker = createDocker({
    log: pino({ level: 'silent' }),
    ...(process.env.DOCKER_HOST && { host: process.env.DOCKER_HOST }),
  });
  return {
    database,
    docker,
    client,
    userId: signUp.user.id,
    token: signUp.token,
    topicPrefix: prefix,
    processes,
    async reachEngineAt(host) {
      await processes.workflow.stop();
      processes.workflow = await startProcess(['worker', 'workflow'], { ...env, DOCKER_HOST: host });
    },
    async stop() {
      await client.close();
      for (const started of [processes.scheduling, processes.workflow, processes.joblogs, processes.api])
        await started.stop();
      await database.close();
    },
  };
}

/** Creates a CONTAINER workflow and returns the id of its first job, which runs at once. */
export async function startJob({ client }: System, command: string[]): Promise<string> {
  const { createWorkflow } = await client.request(
    'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id } userErrors { message } } }',
    {
      input: {
        name: 'bench',
        interval: 525_600,
        maxConsecutiveJobFailuresAllowed: 3,
        payload: {
          container: { image: IMAGE, command: command.slice(0, 1), args: command.slice(1), timeoutSeconds: 600 },
        },
      },
    },
    z.object({ createWorkflow: z.object({ workflow: z.object({ id: z.string() }) }) }),
  );
  const { id } = createWorkflow.workflow;
  const firstJob = z.object({
    workflow: z.object({ jobs: z.object({ nodes: z.array(z.object({ id: z.string() })) }) }),
  });
  for (;;) {
    const { workflow } = await client.request(
      'query ($id: ID!) { workflow(id: $id) { jobs(first: 1) { nodes { id } } } }',
      { id },
      firstJob,
    );
    const [job] = workflow.jobs.nodes;
    if (job !== undefined) return job.id;
    await delay(ASK_MS);
  }
}
