import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import pino from 'pino';
import { z } from 'zod';
import { lastLogNumber } from '../../../db/logs/read.ts';
import { createDemultiplexer } from '../../../platform/docker/demultiplexer.ts';
import { createDocker, type Docker } from '../../../platform/docker/docker.ts';
import { listenerOf, treeCpuSeconds } from '../cpu.ts';
import { type Finding, median, ROUNDS } from '../harness.ts';
import { now, toMs } from '../time.ts';
import { ASK_MS, IMAGE, type System, startJob, textBatch } from './system.ts';

export const LINES = 1_000_000;
/** Lines of 60 bytes, the length of a typical log line. */
const PRINT_ALL = [
  'awk',
  `BEGIN { for (i = 1; i <= ${LINES}; i++) printf "%08d one line of a log, of about sixty bytes in all, so.\\n", i }`,
];
const ROUND_MS_MAX = 300_000;
const MB = 1_024 * 1_024;
const OWN = ['workflow', 'joblogs', 'api'] as const;

/**
 * Measures lines per second, counted from the timestamp of the first line: when the engine's own
 * API is followed and discarded, and with Chronoverse. The peer is the same in both parts: the
 * `logs` API of the engine, while the container prints.
 */
export async function measureRate(system: System, progress: (text: string) => void): Promise<Finding[]> {
  const live = await measure(system, system.docker, progress, {
    how: 'which come live',
    budget: 'ratio 1.5 of following the logs API to nowhere',
  });
  const peaks = await Promise.all(OWN.map((name) => system.processes[name].peakBytes()));
  const memory = OWN.map((name, index) => ({
    what: `most memory that ${name} ever held`,
    ours: [(peaks[index] ?? 0) / MB],
    unit: 'MB',
    budget: 'bounded: none of its own',
  }));
  return [...live, ...(await measureFallback(system, progress)), ...memory];
}

/**
 * The same over a network, where output is not read live. Both sides reach the engine through the
 * same bridge in this process.
 */
async function measureFallback(system: System, progress: (text: string) => void): Promise<Finding[]> {
  const bridge = await openBridge(system.docker.address);
  try {
    await system.reachEngineAt(bridge.host);
    const docker = createDocker({ host: bridge.host, log: pino({ level: 'silent' }) });
    return await measure(system, docker, progress, {
      how: "from the engine's log over TCP",
      budget: 'ratio 0.9 of following the logs API to nowhere, over TCP too',
    });
  } finally {
    bridge.close();
  }
}

async function measure(
  system: System,
  docker: Docker,
  progress: (text: string) => void,
  { how, budget }: { how: string; budget: string },
): Promise<Finding[]> {
  const [bare, stored, delivered]: [number[], number[], number[]] = [[], [], []];
  const parts = await partsOf(system);
  const used = new Map(parts.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < ROUNDS; round++) {
    bare.push(await followToNowhere(docker));
    const before = await Promise.all(parts.map(({ cpuSeconds }) => cpuSeconds()));
    const both = await followOurs(system);
    const after = await Promise.all(parts.map(({ cpuSeconds }) => cpuSeconds()));
    stored.push(both.stored);
    delivered.push(both.delivered);
    for (const [index, { name }] of parts.entries())
      used.get(name)?.push((((after[index] ?? 0) - (before[index] ?? 0)) * 1e6) / LINES);
    progress(
      `round ${round + 1}, ${how}: to nowhere ${bare.at(-1)?.toFixed(0)}, stored ${both.stored.toFixed(0)}, delivered ${both.delivered.toFixed(0)} lines a second`,
    );
  }
  const peer = { name: 'engine', values: bare };
  const cpu = [...used].map(([name, values]) => `${name} ${median(values).toFixed(1)}`).join(', ');
  return [
    { what: `lines stored, ${how}`, ours: stored, unit: 'lines a second', peer, budget },
    {
      what: `lines delivered to one subscriber as text, ${how}`,
      ours: delivered,
      unit: 'lines a second',
      peer,
      notes: [`CPU a line in microseconds: ${cpu}`],
      budget,
    },
  ];
}

/** A process, or a server with its processes. */
interface Part {
  name: string;
  cpuSeconds: () => Promise<number>;
}

async function partsOf({ processes, docker }: System): Promise<Part[]> {
  const servers = [
    { name: 'engine', address: docker.address },
    { name: 'PostgreSQL', address: process.env.DATABASE_URL ?? '' },
    { name: 'Kafka', address: process.env.KAFKA_BROKERS ?? '' },
  ];
  const found = await Promise.all(
    servers.map(async ({ name, address }): Promise<Part[]> => {
      const pid = await listenerOf(address);
      return pid === undefined ? [] : [{ name, cpuSeconds: () => treeCpuSeconds(pid) }];
    }),
  );
  const own = OWN.map((name): Part => ({ name, cpuSeconds: processes[name].cpuSeconds }));
  return [...found.flat(), ...own, { name: 'subscriber', cpuSeconds: async () => ownCpuSeconds() }];
}

function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Makes the engine's socket reachable over TCP. */
async function openBridge(address: string): Promise<{ host: string; close: () => void }> {
  const server = createServer((client) => {
    const engine = connect(address.replace(/^unix:\/\//, ''));
    pipeline(client, engine, client).catch(() => undefined); // each end ends the other
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = z.object({ port: z.number() }).parse(server.address()).port;
  return { host: `tcp://127.0.0.1:${port}`, close: () => server.close() };
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
