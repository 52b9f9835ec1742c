import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { lastLogNumber } from '../../../db/logs/read.ts';
import { createDemultiplexer } from '../../../platform/docker/demultiplexer.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { type Finding, ROUNDS } from '../harness.ts';
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

/**
 * Measures lines per second, counted from the engine's timestamp of the first line: when the
 * engine's own API is read and discarded, and with Chronoverse.
 */
export async function measureRate(system: System, progress: (text: string) => void): Promise<Finding[]> {
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
