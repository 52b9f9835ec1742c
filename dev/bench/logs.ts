import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import pino from 'pino';
import { z } from 'zod';
import { createDemoClient, type DemoClient } from '../../bin/demo-client.ts';
import { lastLogNumber } from '../../db/logs/read.ts';
import { migrate } from '../../db/migrate/migrate.ts';
import { jobs } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { encodeChunks, formatLine, packLines } from '../../domain/logs/chunk.ts';
import { createKafkaBus } from '../../platform/bus/kafka.ts';
import { createDemultiplexer } from '../../platform/docker/demultiplexer.ts';
import { createDocker, type Docker } from '../../platform/docker/docker.ts';
import { type BenchDatabase, benchDatabase } from './database.ts';
import { type Benchmark, type Finding, percentile, ROUNDS } from './harness.ts';
import { type BenchProcess, startProcess } from './processes.ts';

const IMAGE = process.env.DEMO_IMAGE ?? 'alpine:3';
const LINES = 1_000_000;
/** Lines of 60 bytes: what a program says of one thing that it did. */
const PRINT_ALL = [
  'awk',
  `BEGIN { for (i = 1; i <= ${LINES}; i++) printf "%08d one line of a log, of about sixty bytes in all, so.\\n", i }`,
];
const SLOW_LINES = 1_000;
const PRINT_SLOWLY = ['sh', '-c', `i=0; while [ $i -lt ${SLOW_LINES} ]; do i=$((i+1)); echo $i; usleep 9000; done`];
const NOW_AND_THEN_LINES = 30;
const PRINT_NOW_AND_THEN = ['sh', '-c', `for i in $(seq ${NOW_AND_THEN_LINES}); do echo $i; sleep 1; done`];
const SUBSCRIBERS = 1_000;
/** With them the api has compiled what it runs: what the others add is theirs. */
const FIRST_SUBSCRIBERS = 100;
const OTHER_JOBS = 100;
const WATCH_SECONDS = 10;
const ASK_MS = 20;
const ROUND_MS_MAX = 300_000;
const KB = 1_024;
const MB = 1_024 * KB;

/** From a container's print to the stored line and to the subscriber, over real processes, Kafka and the engine. */
export const logs: Benchmark = {
  name: 'logs',
  describe: `a container that prints ${LINES.toLocaleString('en')} lines, stored and followed; latency; subscribers`,
  async run(progress) {
    const system = await startSystem();
    try {
      return [
        ...(await measureRate(system, progress)),
        await measureLatency(system, progress),
        await measureSubscribers(system, progress),
        ...(await measureOthers(system, progress)),
      ];
    } finally {
      await system.stop();
    }
  },
};

interface System {
  database: BenchDatabase;
  docker: Docker;
  client: DemoClient;
  userId: string;
  token: string;
  topicPrefix: string;
  processes: Record<'api' | 'joblogs' | 'scheduling' | 'workflow', BenchProcess>;
  stop(): Promise<void>;
}

async function startSystem(): Promise<System> {
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
    async stop() {
      await client.close();
      for (const started of [processes.scheduling, processes.workflow, processes.joblogs, processes.api])
        await started.stop();
      await database.close();
    },
  };
}

/** A CONTAINER workflow whose first job is running, or will be soon. */
async function startJob({ client }: System, command: string[]): Promise<string> {
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

const textBatch = z.object({ jobLogs: z.object({ text: z.string(), lastNumber: z.number() }) });

/** Lines a second, from the engine's timestamp of the first line: of the engine's own API read to nowhere, and of ours. */
async function measureRate(system: System, progress: (text: string) => void): Promise<Finding[]> {
  const [bare, stored, delivered]: [number[], number[], number[]] = [[], [], []];
  const used = { workflow: [] as number[], joblogs: [] as number[], api: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    bare.push(await followToNowhere(system.docker));
    const before = await cpuOf(system);
    const both = await followOurs(system);
    const after = await cpuOf(system);
    stored.push(both.stored);
    delivered.push(both.delivered);
    for (const name of ['workflow', 'joblogs', 'api'] as const)
      used[name].push(((after[name] - before[name]) * 1e6) / LINES);
    progress(
      `round ${round + 1}: to nowhere ${bare.at(-1)?.toFixed(0)}, stored ${both.stored.toFixed(0)}, delivered ${both.delivered.toFixed(0)} lines a second`,
    );
  }
  const peer = { name: 'engine', values: bare };
  const { workflow, joblogs, api } = system.processes;
  const peaks = await Promise.all([workflow, joblogs, api].map((started) => started.peakBytes()));
  return [
    {
      what: 'lines stored',
      ours: stored,
      unit: 'lines a second',
      peer,
      budget: 'ratio 0.9 of following the engine to nowhere',
    },
    {
      what: 'lines delivered to one subscriber as text',
      ours: delivered,
      unit: 'lines a second',
      peer,
      budget: 'ratio 0.9',
    },
    ...(['workflow', 'joblogs', 'api'] as const).map((name) => ({
      what: `CPU of ${name} for a line`,
      ours: used[name],
      unit: 'microseconds',
      budget: 'none of its own',
    })),
    ...(['workflow', 'joblogs', 'api'] as const).map((name, index) => ({
      what: `most memory that ${name} ever held`,
      ours: [(peaks[index] ?? 0) / MB],
      unit: 'MB',
      budget: 'bounded: none of its own',
    })),
  ];
}

async function cpuOf({ processes: { workflow, joblogs, api } }: System) {
  const [w, j, a] = await Promise.all([workflow.cpuSeconds(), joblogs.cpuSeconds(), api.cpuSeconds()]);
  return { workflow: w, joblogs: j, api: a };
}

async function followToNowhere(docker: Docker): Promise<number> {
  const name = `chronoverse-bench-${process.pid}`;
  const id = await docker.createContainer({
    name,
    image: IMAGE,
    entrypoint: PRINT_ALL.slice(0, 1),
    args: PRINT_ALL.slice(1),
    labels: {},
  });
  try {
    await docker.startContainer(id);
    const stream = await docker.openLog(id, { follow: true, signal: AbortSignal.timeout(ROUND_MS_MAX) });
    let first = '';
    const head = createDemultiplexer((_, bytes, start, end) => {
      first ||= bytes.toString('latin1', start, end).split(' ')[0] ?? '';
    });
    for await (const part of stream) if (first === '') head.write(part);
    return LINES / ((now() - toMs(first)) / 1_000);
  } finally {
    await docker.removeContainer(id, { force: true });
  }
}

async function followOurs(system: System): Promise<{ stored: number; delivered: number }> {
  const { database, client } = system;
  await database.db.execute(sql`TRUNCATE log_chunks`);
  const id = await startJob(system, PRINT_ALL);
  const subscription = client.subscribe(
    'subscription ($id: ID!) { jobLogs(jobId: $id) { text lastNumber } }',
    { id },
    textBatch,
  );
  const delivered = (async () => {
    let lines = 0;
    for await (const { jobLogs } of subscription) lines = jobLogs.lastNumber;
    if (lines !== LINES) throw new Error(`${lines} lines were delivered.`);
    return now();
  })();
  const stored = (async () => {
    while ((await lastLogNumber(database.db, id)) < LINES) await delay(ASK_MS);
    return now();
  })();
  const [deliveredAt, storedAt] = await Promise.all([delivered, stored]);
  const { job } = await client.request(
    'query ($id: ID!) { job(id: $id) { logs(first: 1) { nodes { timestamp } } } }',
    { id },
    z.object({ job: z.object({ logs: z.object({ nodes: z.tuple([z.object({ timestamp: z.string() })]) }) }) }),
  );
  const begun = toMs(job.logs.nodes[0].timestamp);
  return { stored: LINES / ((storedAt - begun) / 1_000), delivered: LINES / ((deliveredAt - begun) / 1_000) };
}

/** From the engine's timestamp of a line to its subscriber, 100 lines a second. */
async function measureLatency(system: System, progress: (text: string) => void): Promise<Finding> {
  const id = await startJob(system, PRINT_SLOWLY);
  const batch = z.object({ jobLogs: z.object({ lines: z.array(z.object({ timestamp: z.string() })) }) });
  const latencies: number[] = [];
  const subscription = 'subscription ($id: ID!) { jobLogs(jobId: $id) { lines { timestamp } } }';
  for await (const { jobLogs } of system.client.subscribe(subscription, { id }, batch)) {
    const at = now();
    for (const { timestamp } of jobLogs.lines) latencies.push(at - toMs(timestamp));
  }
  const live = latencies.slice(SLOW_LINES / 10); // the first ones were printed before the subscriber was there
  progress(`latency over ${live.length} lines: p50 ${percentile(live, 0.5).toFixed(1)} ms`);
  return {
    what: 'from print to subscriber, 100 lines a second: p50, p99',
    ours: [percentile(live, 0.5), percentile(live, 0.99)],
    unit: 'ms (the range is p50 to p99)',
    budget: 'p50 20 ms, p99 100 ms',
  };
}

/** What an api needs for each of many subscribers, each on a socket of its own, while the job prints a line a second to all of them. */
async function measureSubscribers(system: System, progress: (text: string) => void): Promise<Finding> {
  const { api } = system.processes;
  const id = await startJob(system, PRINT_NOW_AND_THEN);
  const clients = Array.from({ length: SUBSCRIBERS }, () => createDemoClient(api.url, system.token));
  const started = new Set<DemoClient>();
  const follow = async (client: DemoClient) => {
    let last = 0;
    const subscription = 'subscription ($id: ID!) { jobLogs(jobId: $id) { text lastNumber } }';
    for await (const { jobLogs } of client.subscribe(subscription, { id }, textBatch)) {
      last = jobLogs.lastNumber;
      started.add(client);
    }
    return last;
  };
  const ends: Promise<number>[] = [];
  const subscribe = async (count: number) => {
    ends.push(...clients.slice(ends.length, ends.length + count).map(follow));
    while (started.size < ends.length) await delay(ASK_MS);
    return api.neededBytes();
  };
  const before = await subscribe(FIRST_SUBSCRIBERS);
  const more = SUBSCRIBERS - FIRST_SUBSCRIBERS;
  const each = ((await subscribe(more)) - before) / more / KB;
  const whole = (await Promise.all(ends)).filter((last) => last === NOW_AND_THEN_LINES).length;
  if (whole !== SUBSCRIBERS) throw new Error(`${whole} of ${SUBSCRIBERS} subscribers were given all lines.`);
  await Promise.all(clients.map((client) => client.close()));
  progress(`${SUBSCRIBERS} subscribers: ${each.toFixed(1)} KB each`);
  return {
    what: `memory that the api needs for each of ${SUBSCRIBERS} subscribers to one job, its socket included`,
    ours: [each],
    unit: 'KB',
    budget: '20 KB',
  };
}

/**
 * CPU of an api while 100 other jobs print 10 lines a second each. Their lines are put on the bus as a worker would put them: a hundred
 * containers would measure the engine.
 */
async function measureOthers(system: System, progress: (text: string) => void): Promise<Finding[]> {
  const { database, client, userId, processes } = system;
  const bus = await createKafkaBus({
    brokers: (process.env.KAFKA_BROKERS ?? '').split(','),
    topicPrefix: system.topicPrefix,
    clientId: 'chronoverse-bench',
    log: pino({ level: 'silent' }),
  });
  const others = Array.from({ length: OTHER_JOBS }, () => newId());
  const watched = Array.from({ length: 10 }, () => newId());
  for (const id of [...others, ...watched])
    await database.db.insert(jobs).values({
      id,
      workflowId: newId(),
      userId,
      kind: 'CONTAINER',
      trigger: 'MANUAL',
      status: 'RUNNING',
      generation: 1,
      attempt: 1,
      scheduledAt: new Date(),
      startedAt: new Date(),
      leaseToken: newId(),
      leaseOwner: 'bench',
      leaseExpiresAt: new Date(Date.now() + 3_600_000),
    });
  const numbers = new Map(others.map((id) => [id, 0]));
  const stop = new AbortController();
  const printing = (async () => {
    while (!stop.signal.aborted) {
      for (const id of others) {
        const number = (numbers.get(id) ?? 0) + 1;
        numbers.set(id, number);
        const lines = await packLines(Buffer.from(formatLine('STDOUT', new Date().toISOString(), 'one line')));
        await bus.publish('job_logs', [
          {
            key: id,
            value: encodeChunks([{ sourceId: id, attempt: 1, firstNumber: number, lastNumber: number, lines }]),
          },
        ]);
      }
      await delay(10);
    }
  })();
  const findings: Finding[] = [];
  const subscriptions: AsyncGenerator<unknown>[] = [];
  try {
    for (const subscribers of [0, watched.length]) {
      for (const id of watched.slice(0, subscribers)) {
        const subscription = client.subscribe(
          'subscription ($id: ID!) { jobLogs(jobId: $id) { text lastNumber } }',
          { id },
          textBatch,
        );
        subscriptions.push(subscription);
        void subscription.next().catch(() => undefined); // nothing comes; it is ended below
      }
      await delay(2_000);
      const linesBefore = sum(numbers);
      const before = await processes.api.cpuSeconds();
      await delay(WATCH_SECONDS * 1_000);
      const share = (100 * ((await processes.api.cpuSeconds()) - before)) / WATCH_SECONDS;
      progress(`${subscribers} subscribers: ${share.toFixed(1)} % of a core`);
      findings.push({
        what: `CPU of an api with ${subscribers} subscribers while ${OTHER_JOBS} other jobs print ${((sum(numbers) - linesBefore) / WATCH_SECONDS).toFixed(0)} lines a second`,
        ours: [share],
        unit: '% of a core',
        budget: 'none of its own: it follows the subscribers, not what is printed',
      });
    }
    return findings;
  } finally {
    stop.abort();
    await printing;
    await bus.close();
  }
}

function sum(numbers: Map<string, number>): number {
  return [...numbers.values()].reduce((total, n) => total + n, 0);
}

/** By the wall clock, in milliseconds with decimals. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

/** RFC 3339 with nanoseconds. */
function toMs(timestamp: string): number {
  const [, seconds = '', fraction = '0'] = /^(.*?)(?:\.(\d+))?Z$/.exec(timestamp) ?? [];
  return Date.parse(`${seconds}Z`) + Number(`0.${fraction}`) * 1_000;
}
