import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { asc, eq, sql } from 'drizzle-orm';
import { Kafka, logLevel } from 'kafkajs';
import { expect } from 'vitest';
import { hashToken, newToken } from '../../api/auth/tokens.ts';
import { createApiToken } from '../../db/accounts/tokens.ts';
import { getInstallation } from '../../db/installation.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { type JobRow, jobs } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { buildsQueued, encodeEvent } from '../../domain/events.ts';
import type { LogLine } from '../../domain/logs/line.ts';
import type { Payload } from '../../domain/payload/payload.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import { createKafkaBus } from '../../platform/bus/kafka.ts';
import { createDocker } from '../../platform/docker/docker.ts';
import { installationLabels } from '../../workers/workflow/engine/labels.ts';
import { containerName } from '../../workers/workflow/jobs/container.ts';
import { removeNetworks } from '../docker/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { readLines } from '../support/lines.ts';
import { requirePart } from '../support/parts.ts';
import { type Running, startProcess } from '../support/processes.ts';
import { untilSlow } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { tell } from './printer.ts';

export const IMAGE = process.env.DEMO_IMAGE ?? 'alpine:3';

const CONTAINER_END_MS_MAX = 10_000;

/** The addresses of the servers that separate processes need. */
export interface Servers {
  kafka: string;
  redis: string;
  docker: string;
}

/** Undefined if one is missing; then it reports what is left untested. */
export function requireServers(untested: string): Servers | undefined {
  const kafka = requirePart('kafka', untested);
  const redis = requirePart('redis', untested);
  const docker = requirePart('docker', untested);
  return kafka === undefined || redis === undefined || docker === undefined ? undefined : { kafka, redis, docker };
}

/**
 * Processes of the real executable on real servers, with their own database, topics and containers.
 */
export interface Installation {
  database: TestDatabase;
  /** Starts `chronoverse ARGS`. */
  start(...args: string[]): Running;
  /** The settings of all processes, for one that a test starts with others. */
  settings: Record<string, string>;
  /** The token of the user who owns everything that is created here. */
  token: string;
  /**
   * Creates a workflow and publishes it. Its image prints, unless the payload says otherwise. It
   * runs at once.
   */
  create(payload: { command: string[] } | Payload): Promise<string>;
  /** Requests one more job of the workflow. */
  run(workflowId: string): Promise<void>;
  /** Resolves with the first job of the workflow when it has reached the stage. */
  job(workflowId: string, stage: 'RUNNING' | 'ENDED'): Promise<JobRow>;
  /** The owner of its lease, and the number of its last stored line. */
  progress(jobId: string): Promise<{ owner: string; stored: number }>;
  /** Makes the printer of the job's first attempt end, or begin if it waits. */
  tell(jobId: string): Promise<void>;
  /** Resolves when the container of the job has ended. */
  containerEnd(jobId: string): Promise<void>;
  /** Resolves when no container of the job is left, or of any job if none is given. */
  removed(jobId?: string): Promise<void>;
  /** The stored lines of the job: all of them if it has ended, as soon as they are stored. */
  lines(jobId: string): Promise<LogLine[]>;
  close(): Promise<void>;
}

/** A test may pass its own database and servers instead of those of the run. */
export async function openInstallation(
  servers: Servers,
  { database, env = {} }: { database?: TestDatabase; env?: Record<string, string> } = {},
): Promise<Installation> {
  const own = database ?? (await testDatabase());
  const { db } = own;
  const ann = await testUser(db, 'ann');
  const token = newToken('API');
  const hash = hashToken(token);
  await createApiToken(db, { userId: ann, name: 'faults', hash, scope: 'WRITE', expiresAt: null }, { countMax: 1 });
  const prefix = `faults-${randomBytes(4).toString('hex')}.`;
  const installation = await getInstallation(db);
  const docker = createDocker({ host: servers.docker, log: quiet });
  const labels = installationLabels(installation);
  let bus: Promise<Bus> | undefined;
  const settings = {
    DATABASE_URL: own.url,
    KAFKA_BROKERS: servers.kafka,
    REDIS_URL: servers.redis,
    DOCKER_HOST: servers.docker,
    KAFKA_TOPIC_PREFIX: prefix,
    REDIS_PREFIX: prefix,
    SECRET_KEY: '00'.repeat(32),
    PORT: '0',
    ...env,
  };

  return {
    database: own,
    token,
    start: (...args) => startProcess(args, settings),
    settings,

    async create(payload) {
      const { workflow, buildId } = await createWorkflow(db, {
        userId: ann,
        name: 'faults',
        payload: 'kind' in payload ? payload : { kind: 'CONTAINER', image: IMAGE, ...payload },
        schedule: { everyMinutes: 60 },
        maxConsecutiveJobFailuresAllowed: 1_000,
      });
      const events = buildsQueued(buildId === undefined ? [] : [buildId]);
      bus ??= createKafkaBus({ brokers: servers.kafka.split(','), topicPrefix: prefix, log: quiet, clientId: 'test' });
      await (await bus).publish(
        'workflows',
        events.map((event) => ({ value: encodeEvent(event) })),
      );
      return workflow.id;
    },

    async run(workflowId) {
      expect((await runWorkflow(db, { userId: ann, id: workflowId })).outcome).toBe('REQUESTED');
    },

    job: (workflowId, stage) =>
      untilSlow(`the job is ${stage}`, async () => {
        const [row] = await db.select().from(jobs).where(eq(jobs.workflowId, workflowId)).orderBy(asc(jobs.id));
        const reached = stage === 'ENDED' ? row?.completedAt !== null : row?.status === 'RUNNING';
        return reached ? row : undefined;
      }),

    async progress(jobId) {
      const [row] = await db.execute<{ owner: string | null; stored: number }>(sql`
        SELECT lease_owner AS owner, (SELECT coalesce(max(last_number), 0) FROM log_chunks WHERE source_id = jobs.id) AS stored
        FROM jobs WHERE id = ${jobId}`);
      return { owner: row?.owner ?? '', stored: row?.stored ?? 0 };
    },

    tell: (jobId) => tell(servers.docker, jobId),

    containerEnd: (jobId) =>
      docker.waitContainer(containerName({ id: jobId, attempt: 1 }), {
        timeoutMs: CONTAINER_END_MS_MAX,
        signal: new AbortController().signal,
      }),

    async removed(jobId) {
      await untilSlow('its containers are removed', async () => {
        const left = await docker.listContainers(labels);
        return !left.some((container) => jobId === undefined || Object.values(container.labels).includes(jobId));
      });
    },

    async lines(jobId) {
      await untilSlow('its last line is stored', async () => {
        const [job] = await db.execute<{ whole: boolean }>(sql`
          SELECT completed_at IS NULL OR NOT log_open AND log_line_count =
            (SELECT coalesce(max(last_number), 0) FROM log_chunks WHERE source_id = jobs.id) AS whole
          FROM jobs WHERE id = ${jobId}`);
        return job?.whole;
      });
      return readLines(db, jobId);
    },

    async close() {
      await (await bus)?.close();
      await dropTopics(servers.kafka, prefix);
      const left = await docker.listContainers(labels);
      for (const { id } of left) await docker.removeContainer(id, { force: true });
      await removeNetworks(docker, labels); // networks of killed processes
      if (database === undefined) await own.close();
    },
  };
}

/**
 * Deletes the topics of the run, because they would slow a shared broker down. A broker that is
 * down keeps them.
 */
async function dropTopics(brokers: string, prefix: string): Promise<void> {
  const client = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING, retry: { retries: 1 } });
  const admin = client.admin();
  try {
    await admin.connect();
    await admin.deleteTopics({ topics: ['workflows', 'job_logs'].map((topic) => `${prefix}${topic}`) });
  } catch (error) {
    console.warn(`The topics of ${prefix} are left behind: ${String(error)}`);
  } finally {
    await admin.disconnect();
  }
}

/**
 * Waits longer than the executable's own wait for its ready line, because the machine may be busy.
 */
export async function isReady(process: Running): Promise<void> {
  await untilSlow('the process is ready', async () => process.log.some(({ event }) => event === 'ready'));
}

/** The anonymous resident memory of a process; file mappings do not count. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}

/**
 * The kill follows a sign of life by at most this time: about the time between two chunks, a
 * fraction of a renewal interval, or a commit.
 */
const KILL_AFTER_MS_MAX = 300;

/**
 * Kills a process with SIGKILL at `times` random instants, each after a sign that it works, and
 * starts it again. Resolves with the last process when it works.
 */
export async function killAtRandom({
  times,
  random,
  start,
  works,
}: {
  times: number;
  random: () => number;
  start: () => Running;
  /** Resolves when this process has done new work. */
  works: (process: Running) => Promise<unknown>;
}): Promise<Running> {
  let victim = start();
  for (let kill = 1; kill <= times; kill += 1) {
    await works(victim);
    await delay(random() * KILL_AFTER_MS_MAX);
    expect(await victim.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
    victim = start();
  }
  await works(victim);
  return victim;
}
