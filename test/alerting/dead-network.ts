import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { eq } from 'drizzle-orm';
import { connect } from '../../db/client.ts';
import { jobs, outages } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { policy } from '../heartbeat/policy.ts';
import { until } from '../support/time.ts';
import { memoryParts, startHeartbeatWorkers } from '../support/workers.ts';

export interface Task {
  /** The database, as `socket` gives it. */
  url: string;
  /** Of a unix socket: network namespaces share files. */
  socket: string;
  userId: string;
  /** Endpoints behind a dead network, and one that is reached again after them. */
  dead: string[];
  alive: string;
}

/**
 * Runs in a network namespace: workers whose checks of many hosts fail at once, and later reach a
 * host. Prints how the checks of the dead network ended.
 */
async function main({ url, socket, userId, dead, alive }: Task): Promise<void> {
  const bridge = net.createServer((client) => {
    const upstream = net.connect(socket);
    for (const one of [client, upstream]) one.on('error', () => undefined);
    client.pipe(upstream).pipe(client);
  });
  await once(bridge.listen(0, '127.0.0.1'), 'listening');
  const address = bridge.address();
  const own = new URL(url);
  own.host = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const connection = connect(own.href, { max: 5, application: 'chronoverse-test' });
  const { db } = connection;

  const check = async (endpoint: string) => {
    await createWorkflow(db, {
      ...{ userId, name: 'test', schedule: { everyMinutes: 60 }, runPolicy: null },
      ...{ maxConsecutiveJobFailuresAllowed: 3, onTooManyFailures: 'TERMINATE' },
      payload: { kind: 'HEARTBEAT', endpoint, timeout_seconds: 1.2 },
    });
  };
  for (const endpoint of dead) await check(endpoint);
  const workers = await startHeartbeatWorkers({ ...memoryParts(db), allow: policy('private') });
  const ended = await until('the checks have failed', async () => {
    const failed = await db.select().from(jobs).where(eq(jobs.status, 'FAILED'));
    return failed.length === dead.length && failed;
  });
  process.stdout.write(JSON.stringify(ended.map(({ failureReason }) => failureReason)));
  await until('the outage has ended', async () => {
    await check(alive);
    await sleep(1_000);
    return (await db.select().from(outages)).every(({ endedAt }) => endedAt !== null);
  });
  await workers.close();
  await connection.close();
  bridge.close();
}

await main(JSON.parse(process.argv[2] ?? ''));
