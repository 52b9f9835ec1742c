import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { encodeChanged, userChannel } from '../../../domain/hints.ts';
import { newId } from '../../../domain/ids.ts';
import { seedHeartbeats } from '../seed.ts';
import { now } from '../time.ts';
import { type Clients, latency, startClients } from './clients.ts';
import { Printer } from './printer.ts';
import type { Opening, Report } from './protocol.ts';
import { runningJobs, type System } from './system.ts';

const FOLLOW =
  'subscription ($id: ID!, $after: String) { jobLogs(jobId: $id, after: $after) { firstNumber lastNumber cursor text } }';
const PROCESSES = 2;
const WARM_MS = 3_000;
const CAUGHT_UP_MS_MAX = 30_000;

export interface Followed {
  p50: number;
  p99: number;
  /** The share of a core that the api takes, in percent. */
  core: number;
  eventsPerSecond: number;
  /** Subscribers that lack lines or were given some twice, and the first of these problems. */
  problem: string;
}

/**
 * Followers of `jobs` jobs that together print `linesPerSecond`: from the moment at which a line is
 * given to the bus to the subscriber.
 */
export async function follow(
  system: System,
  { subscribers, perSocket = 1, jobs = 1, linesPerSecond = 100, seconds = 10 }: Following,
): Promise<Followed> {
  const ids = await runningJobs(system, system.user.id, jobs);
  const printer = new Printer(system.bus, ids);
  await printer.print(ids);
  const clients = await startClients(PROCESSES);
  try {
    await clients.open(openingOf(system, ids, { sockets: subscribers / perSocket, perSocket }));
    printer.start(linesPerSecond);
    await delay(WARM_MS);
    await clients.measure();
    const before = await system.api.cpuSeconds();
    await delay(seconds * 1_000);
    const core = (100 * ((await system.api.cpuSeconds()) - before)) / seconds;
    await printer.stop();
    const report = await caughtUp(clients, Math.min(...ids.map((id) => printer.last(id))));
    return {
      p50: latency(report, 0.5),
      p99: latency(report, 0.99),
      core,
      eventsPerSecond: report.events / seconds,
      problem: report.firstProblem,
    };
  } finally {
    await printer.stop();
    await clients.close();
  }
}

interface Following {
  subscribers: number;
  perSocket?: number;
  jobs?: number;
  linesPerSecond?: number;
  seconds?: number;
}

/** Waits until every subscriber has line `last`. */
async function caughtUp(clients: Clients, last: number): Promise<Report> {
  const begun = performance.now();
  for (;;) {
    const report = await clients.report();
    if (report.least >= last || performance.now() - begun > CAUGHT_UP_MS_MAX) {
      if (report.least >= last) return report;
      return { ...report, firstProblem: `${report.firstProblem} a subscriber has ${report.least} of ${last} lines` };
    }
    await delay(100);
  }
}

function openingOf(
  { port, user: { token } }: System,
  ids: string[],
  given: Pick<Opening, 'sockets' | 'perSocket'> & Partial<Opening>,
): Opening {
  return { kind: 'WEBSOCKET', port, token, query: FOLLOW, variables: ids.map((id) => ({ id })), ...given };
}

export interface Opened {
  cpuMs: number;
  bytes: number;
}

/** What a subscription costs to open, and to hold: its connection included. */
export async function openMany(system: System, kind: Opening['kind'], count: number): Promise<Opened> {
  const clients = await startClients(PROCESSES);
  try {
    // One user may have 200 streams over HTTP.
    const shares = Math.ceil(count / PER_USER);
    const openings: Opening[] = [];
    for (let n = 0; n <= shares; n += 1) {
      const user = await system.signUp();
      const [id = ''] = await runningJobs(system, user.id, 1);
      await new Printer(system.bus, [id]).print([id]);
      openings.push({ ...openingOf(system, [id], { sockets: count / shares, perSocket: 1, kind }), token: user.token });
    }
    const [first, ...rest] = openings;
    if (first) await clients.open(first); // compiles what the others run
    await delay(1_000);
    const bytes = await system.api.neededBytes();
    const cpu = await system.api.cpuSeconds();
    for (const opening of rest) await clients.open(opening);
    const cpuMs = (((await system.api.cpuSeconds()) - cpu) * 1_000) / count;
    await delay(2_000);
    return { cpuMs, bytes: ((await system.api.neededBytes()) - bytes) / count };
  } finally {
    await clients.close();
  }
}

const PER_USER = 200;

/** The share of a core that the api takes while workflows change, and all follow all of them. */
export async function followWorkflows(
  system: System,
  { subscribers, changesPerSecond, seconds = 10 }: { subscribers: number; changesPerSecond: number; seconds?: number },
): Promise<{ core: number; eventsPerSecond: number; problem: string }> {
  const { database, cache, user } = system;
  await seedHeartbeats(database.db, user.id, WORKFLOWS, Number.POSITIVE_INFINITY);
  const rows = await database.db.execute<{ id: string }>(sql`SELECT id FROM workflows WHERE user_id = ${user.id}`);
  const clients = await startClients(PROCESSES);
  const stop = new AbortController();
  const changing = (async () => {
    for (let n = 0; !stop.signal.aborted; n += 1) {
      const { id = '' } = rows[n % rows.length] ?? {};
      await database.db.execute(sql`UPDATE workflows SET name = ${newId()}, updated_at = now() WHERE id = ${id}`);
      await cache.publish(userChannel(user.id), encodeChanged({ workflows: [id] }));
      await delay(1_000 / changesPerSecond);
    }
  })();
  try {
    const query = 'subscription { workflowUpdated { id name buildStatus terminatedAt } }';
    await clients.open({
      ...openingOf(system, [''], { sockets: subscribers, perSocket: 1, isSilent: true }),
      query,
      variables: [{}],
    });
    await delay(WARM_MS);
    await clients.measure();
    const before = await system.api.cpuSeconds();
    await delay(seconds * 1_000);
    const core = (100 * ((await system.api.cpuSeconds()) - before)) / seconds;
    const { events, firstProblem } = await clients.report();
    return { core, eventsPerSecond: events / seconds, problem: firstProblem };
  } finally {
    stop.abort();
    await changing;
    await clients.close();
  }
}

const WORKFLOWS = 20;

/**
 * Restarts the api under its followers. Returns the seconds from the moment at which it is ready to
 * the moment at which the last one is delivered lines again.
 */
export async function reconnect(system: System, subscribers: number): Promise<{ seconds: number; problem: string }> {
  const ids = await runningJobs(system, system.user.id, 1);
  const printer = new Printer(system.bus, ids);
  await printer.print(ids);
  const clients = await startClients(PROCESSES);
  try {
    await clients.open(openingOf(system, ids, { sockets: subscribers, perSocket: 1, reconnects: true }));
    printer.start(100);
    await delay(WARM_MS);
    await system.restartApi();
    const ready = now();
    await delay(RECONNECTED_MS_MAX);
    await printer.stop();
    const report = await caughtUp(clients, Math.min(...ids.map((id) => printer.last(id))));
    return { seconds: (report.resumedAt - ready) / 1_000, problem: report.firstProblem };
  } finally {
    await printer.stop();
    await clients.close();
  }
}

const RECONNECTED_MS_MAX = 15_000;
