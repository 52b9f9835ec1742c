import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jobs } from '../../db/schema.ts';
import { decodeChunks, isMarker } from '../../domain/logs/chunk.ts';
import { startJoblogs } from '../../workers/joblogs/worker.ts';
import { brokers, dropTopics, kafkaBus, randomPrefix } from '../bus/support.ts';
import { UNTIL_LET_GO } from '../support/gate.ts';
import { requirePart } from '../support/parts.ts';
import { until } from '../support/time.ts';
import { removeVolumes } from './engine-state.ts';
import { type Installation, openInstallation, storedLines } from './support.ts';

const host = requirePart('docker', 'the numbers of the lines of a second attempt');
describe.skipIf(host === undefined || brokers === undefined)('a second attempt while storing is away', () => {
  const topicPrefix = randomPrefix();
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host, await kafkaBus(topicPrefix));
  });
  afterAll(async () => {
    await here?.close();
    if (here) await removeVolumes(host, here.installation);
    await dropTopics();
  });

  test('P4: continues behind all lines of the first one, although none of them was stored when it began', async () => {
    const { db } = here.database;
    const worker = await here.start();
    const { id } = await here.create({
      command: ['sh', '-c'],
      args: [`${UNTIL_LET_GO}; seq 1 500; if [ -e /seen/it ]; then exit 0; fi; touch /seen/it; sleep 600`],
      volumes: [{ name: 'seen', path: '/seen' }],
    });
    const running = await here.job(id, 'RUNNING');
    let published = 0; // what a subscriber sees before lines are stored
    const onMessage = (value: Buffer) => {
      for (const entry of decodeChunks(value)) if (!isMarker(entry)) published = Math.max(published, entry.lastNumber);
    };
    const tail = await here.parts.bus.tail({ topic: 'job_logs', onMessage, onGap: () => undefined });
    await tail.watch(running.id);
    await here.letGo(running.id);
    await until('its lines are on the bus', async () => (published >= 500 ? true : undefined));
    // Removes the containers, as if their engine were lost.
    for (const container of await here.containers()) await here.docker.removeContainer(container, { force: true });
    await until('another attempt', async () => {
      await db.execute(sql`UPDATE schedules SET wake_at = now() WHERE workflow_id = ${id}`);
      const [job] = await db.select().from(jobs).where(eq(jobs.id, running.id));
      return job?.attempt === 2 && job.status === 'RUNNING' ? job : undefined;
    });
    expect(await storedLines(db, running.id)).toEqual([]);
    await here.letGo(running.id, 2);

    const joblogs = await startJoblogs(here.parts);
    const job = await here.job(id, 'COMPLETED');
    const lines = await until('its last line is stored', async () => {
      const stored = await storedLines(db, job.id);
      return stored.length >= job.logLineCount ? stored : undefined;
    });
    const first = lines.filter(({ attempt }) => attempt === 1);
    const numbers = (count: number) => Array.from({ length: count }, (_, n) => String(n + 1));
    const gone = expect.stringMatching(/^The container was removed while its log was read/);
    expect(first.map(({ text }) => text)).toEqual([...numbers(500), gone]);
    expect(lines.slice(first.length).map(({ text, attempt }) => [text, attempt])).toEqual(
      numbers(500).map((n) => [n, 2]),
    );
    await tail.close();
    await worker.close();
    await joblogs.close();
  });
});
