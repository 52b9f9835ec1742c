import { eq } from 'drizzle-orm';
import { expect } from 'vitest';
import type { Connection, Db } from '../../db/client.ts';
import { builds, type JobRow } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { buildsQueued, encodeEvent } from '../../domain/events.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import type { LogLine } from '../../domain/logs/line.ts';
import type { ContainerPayload } from '../../domain/payload/payload.ts';
import { type RunPolicyInput, toRunPolicy } from '../../domain/schedule/run-policy.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import { createDocker, type Docker } from '../../platform/docker/docker.ts';
import { startJoblogs } from '../../workers/joblogs/worker.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import type { Parts, Worker } from '../../workers/shared/parts.ts';
import { installationLabels } from '../../workers/workflow/engine/labels.ts';
import { containerName } from '../../workers/workflow/jobs/container.ts';
import { startWorkflow, type WorkflowParts } from '../../workers/workflow/worker.ts';
import { removeNetworks } from '../docker/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { letGo } from '../support/gate.ts';
import { jobIn } from '../support/jobs.ts';
import { readLines } from '../support/lines.ts';
import { until } from '../support/time.ts';
import { imagePatterns, memoryParts, quiet, registryPolicy } from '../support/workers.ts';

export const IMAGE = process.env.DEMO_IMAGE ?? 'alpine:3';

/** Scheduling, joblogs and any number of workflow workers over one engine and its own database. */
export interface Installation {
  database: TestDatabase;
  parts: Parts;
  docker: Docker;
  installation: string;
  /** Starts another workflow worker. It is closed with the rest, unless the test closes it. */
  start(changes?: Partial<WorkflowParts>): Promise<Worker>;
  /** Creates a workflow and its build, and publishes the build. */
  create(
    payload: Omit<ContainerPayload, 'kind' | 'image'> & { image?: string; id?: string; runPolicy?: RunPolicyInput },
    failuresAllowed?: number,
    /** Defaults to ann. */
    userId?: string,
  ): Promise<Made>;
  job(workflowId: string, status: JobRow['status'], nth?: number): Promise<JobRow>;
  containers(): Promise<string[]>;
  /** Lets the container of this attempt go on, once there is one: see UNTIL_LET_GO. */
  letGo(jobId: string, attempt?: number): Promise<void>;
  /** Closes everything, and fails if a container is left behind. */
  close(): Promise<void>;
}

export interface Made {
  id: string;
  buildId: string;
}

export async function openInstallation(
  host: string | undefined,
  /** Replaces the in-process bus. A test that passes one starts joblogs itself. */
  bus?: Bus,
  /**
   * Connects the workers to the database by another way than the test's own. Closed with the rest.
   */
  connectTo?: (url: string) => Promise<Connection>,
): Promise<Installation> {
  const database = await testDatabase();
  const { db } = database;
  const ann = await testUser(db, 'ann');
  const connection = await connectTo?.(database.url);
  const parts = { ...memoryParts(connection?.db ?? db), ...(bus && { bus }) };
  const docker = createDocker({ host, log: quiet });
  const installation = `test-${process.pid}-${Date.now()}`;
  const workers: Worker[] = [...(bus ? [] : [await startJoblogs(parts)]), await startScheduling(parts)];
  const containers = async () => (await docker.listContainers(installationLabels(installation))).map(({ id }) => id);
  let count = 0;

  return {
    database,
    parts,
    docker,
    installation,
    containers,

    async start(changes) {
      count += 1;
      const worker = await startWorkflow({
        ...parts,
        docker,
        installation,
        owner: `worker-${count}`,
        registryAllow: registryPolicy('public,private,loopback'),
        localImages: imagePatterns('*'),
        ...changes,
      });
      let closed: Promise<void> | undefined;
      const once = {
        close: () => {
          closed ??= worker.close();
          return closed;
        },
      };
      workers.push(once);
      return once;
    },

    async create({ id, runPolicy, ...payload }, failuresAllowed = 3, userId = ann) {
      const { workflow, buildId } = await createWorkflow(db, {
        ...(id === undefined ? {} : { id }),
        userId,
        name: 'test',
        payload: { kind: 'CONTAINER', ...(payload.build ? {} : { image: IMAGE }), ...payload },
        schedule: { everyMinutes: 60 },
        maxConsecutiveJobFailuresAllowed: failuresAllowed,
        ...(runPolicy === undefined ? {} : { runPolicy: toRunPolicy(runPolicy) }),
      });
      if (buildId === undefined) throw new Error('A CONTAINER workflow has no build.');
      await parts.bus.publish(
        'workflows',
        buildsQueued([buildId]).map((event) => ({ value: encodeEvent(event) })),
      );
      await parts.cache.publish(SCHEDULE_CHANNEL, '');
      return { id: workflow.id, buildId };
    },

    job: (workflowId, status, nth = 0) => jobIn(db, workflowId, status, nth),

    async letGo(jobId, attempt = 1) {
      const name = containerName({ id: jobId, attempt });
      await until('there is its container', async () => (await docker.inspectContainer(name)) !== undefined);
      await letGo(host, name);
    },

    async close() {
      for (const worker of workers.reverse()) await worker.close();
      const left = (await docker.isUp()) ? await containers() : [];
      for (const id of left) await docker.removeContainer(id, { force: true });
      if (left.length > 0) await removeNetworks(docker, installationLabels(installation));
      await parts.bus.close();
      await parts.cache.close();
      await connection?.close();
      await database.close();
      expect(left).toEqual([]);
    },
  };
}

export function buildIn(db: Db, id: string, status: string) {
  return until(`build ${status}`, async () => {
    const [row] = await db.select().from(builds).where(eq(builds.id, id));
    return row?.status === status ? row : undefined;
  });
}

/** The build, when it waits out an outage and its log says so. */
export function waitingBuild(db: Db, id: string) {
  return until('the build waits', async () => {
    const [row] = await db.select().from(builds).where(eq(builds.id, id));
    const isSaid = (await readLines(db, id)).at(-1)?.text.includes('Trying again in');
    return row?.status === 'QUEUED' && row.retryAt !== null && isSaid ? row : undefined;
  });
}

/** The stored lines of a job or build. Fails at a gap. */
export async function storedLines(db: Db, sourceId: string): Promise<LogLine[]> {
  const lines = await readLines(db, sourceId);
  expect(lines.map(({ number }) => number)).toEqual(lines.map((_, index) => index + 1));
  return lines;
}

export async function storedTexts(db: Db, sourceId: string): Promise<string[]> {
  return (await storedLines(db, sourceId)).map(({ text }) => text);
}
