import { setTimeout as delay } from 'node:timers/promises';
import { eq } from 'drizzle-orm';
import { afterAll, describe, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { chunksOfLogs, lastLogNumber } from '../../db/logs/read.ts';
import { jobs } from '../../db/schema.ts';
import { parseLines } from '../../domain/logs/decode.ts';
import { unpackLines } from '../../domain/logs/packing.ts';
import { createDemultiplexer } from '../../platform/docker/demultiplexer.ts';
import { containerName } from '../../workers/workflow/jobs/container.ts';
import { requirePart } from '../support/parts.ts';
import { hasCommand, type OwnServer, ownEngine } from '../support/servers.ts';
import { until } from '../support/time.ts';
import { type Installation, openInstallation, storedLines } from '../workflow-worker/support.ts';
import { tell } from './printer.ts';
import { randomOf } from './random.ts';

const KILLS = 2;
const KILL_AFTER_MS_MAX = 500;
const AWAY_MS = 2_000;

/**
 * Prints numbered lines in bursts until it gets SIGUSR1, and then prints their number. An engine
 * that is killed may still hold some of the lines.
 */
const BURSTS = {
  command: [
    'sh',
    '-c',
    'trap go=1 USR1; i=0; while [ -z "$go" ]; do i=$((i+1)); echo "$i"; [ $((i % 200)) = 0 ] && sleep 0.02; done; echo "end $i"; exit 4',
  ],
  network: 'NONE' as const,
};

const untested = 'logs while the Docker engine is killed';
const isHere = requirePart('docker', untested) !== undefined && process.getuid?.() === 0;
const canStart = isHere && (await hasCommand('dockerd', untested));
describe.skipIf(!canStart)('an engine that ends while a container prints', () => {
  const engines: OwnServer[] = [];
  const opened: Installation[] = [];
  afterAll(async () => {
    try {
      for (const here of opened) await here.close();
    } finally {
      for (const engine of engines) await engine.close();
    }
  });

  /** A job that prints, on its own engine. */
  async function open(liveRestore: boolean) {
    const engine = await ownEngine({ liveRestore });
    engines.push(engine);
    await engine.start();
    const here = await openInstallation(engine.address);
    opened.push(here);
    await here.start();
    const { id } = await here.create(BURSTS);
    const { id: jobId } = await here.job(id, 'RUNNING');
    await until('it prints', async () => (await lastLogNumber(here.database.db, jobId)) > 0);
    return { engine, here, id, jobId };
  }

  /** Resolves when the worker reads what the container prints now. */
  async function isRead({ database, docker }: Installation, jobId: string): Promise<void> {
    const { signal } = new AbortController();
    const id = containerName({ id: jobId, attempt: 1 });
    let printed = 0;
    const demultiplexer = createDemultiplexer((_stream, bytes, start, end) => {
      printed = Number(bytes.toString('latin1', bytes.indexOf(' ', start), end));
    });
    for await (const part of await docker.openLog(id, { follow: false, tail: 1, signal })) demultiplexer.write(part);
    await until('it is stored', async () => {
      const place = { sourceId: jobId, at: 0x7fff_ffff, count: 1 };
      const [[chunk] = []] = await chunksOfLogs(database.db, [place], { backwards: true, bytesMax: 1 });
      const lines = chunk === undefined ? [] : parseLines(await unpackLines(chunk.lines), 1, 1);
      return Number(lines.at(-1)?.text) >= printed;
    });
  }

  /**
   * Whether all lines up to the line `end` are present. Fails if lines are out of order or
   * repeated.
   */
  function isWhole(texts: string[]): boolean {
    const numbers = texts.filter((text) => /^\d+$/.test(text)).map(Number);
    expect(numbers.findIndex((number, index) => index > 0 && number <= (numbers[index - 1] ?? 0))).toBe(-1);
    return numbers.length === numbers.at(-1);
  }

  test(`P4: killed ${KILLS} times and stopped for ${AWAY_MS / 1_000} s, with live-restore: nothing is lost, or the last line says so`, async () => {
    const { engine, here, id, jobId } = await open(true);
    const random = randomOf('kills of the engine');
    for (let kill = 1; kill <= KILLS; kill += 1) {
      await isRead(here, jobId);
      await delay(random() * KILL_AFTER_MS_MAX);
      await engine.kill();
      await engine.start();
    }
    await isRead(here, jobId);
    await engine.stop();
    await delay(AWAY_MS);
    await engine.start();
    await isRead(here, jobId);
    await tell(engine.address, jobId);
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ attempt: 1, exitCode: 4, failureReason: 'EXIT_CODE' });
    const texts = (await storedLines(here.database.db, jobId)).map(({ text }) => text);
    expect(texts).toHaveLength(job.logLineCount);
    console.info(`${texts.length} lines are stored, ${isWhole(texts) ? 'all there are' : 'and some are lost'}`);
    expect(texts.at(-1)).toContain('The Docker engine was started anew');
    expect(texts.at(-2)).toMatch(/^end /);
  }, 120_000);

  test('P4: killed, without live-restore: the attempt is lost, and its last line says that lines may be lost', async () => {
    const { engine, here, id, jobId } = await open(false);
    await isRead(here, jobId);
    await engine.kill();
    await engine.start();
    const givenUp = await until('the attempt is given up', async () => {
      const [job] = await here.database.db.select().from(jobs).where(eq(jobs.id, jobId));
      return job?.status === 'PENDING' || (job?.attempt ?? 0) > 1 ? job : undefined;
    });
    expect(givenUp).toMatchObject({ uncountedAttempts: 0, exitCode: null });
    await cancelJob(here.database.db, { userId: givenUp.userId, id: jobId });
    await here.job(id, 'CANCELED');
    await until('no container is left', async () => (await here.containers()).length === 0);
    const lines = (await storedLines(here.database.db, jobId)).filter(({ attempt }) => attempt === 1);
    expect(lines.at(-1)?.text).toContain('The Docker engine was started anew');
    isWhole(lines.map(({ text }) => text));
  }, 120_000);
});
