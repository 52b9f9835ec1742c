import { eq, sql } from 'drizzle-orm';
import { afterAll, expect, test } from 'vitest';
import { jobs } from '../../db/schema.ts';
import { isEnded } from '../../domain/states.ts';
import { codes, person, query } from '../api/support.ts';
import { heartbeat } from '../scheduling/support.ts';
import { testDatabase, waitersFor } from '../support/database.ts';
import { cleanUp, startProcess, tempFolder } from '../support/processes.ts';

afterAll(cleanUp);

const REQUESTS = 12; // more than the api has connections
const WAIT_MS_MAX = 60_000;

test(
  'a statement of the api ends after half a minute, and takes no connection from the workers',
  async () => {
    const database = await testDatabase();
    const up = startProcess(['up'], {
      DATA_DIR: await tempFolder(),
      DATABASE_URL: database.url,
      SECRET_KEY: '00'.repeat(32),
      SIGN_UP: 'open',
      PORT: '0',
    });
    const url = await up.ready();
    const ann = await person({ url });
    const events = () => query({ url }, '{ auditEvents(first: 1) { nodes { id } } }', { token: ann.token });
    expect(codes(await events())).toEqual([]);

    const answers = await database.db.transaction(async (tx) => {
      await tx.execute(sql`LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE`);
      const begun = performance.now();
      const sent = Array.from({ length: REQUESTS }, events);
      const isWaiting = waitersFor('audit_events');
      await expect.poll(async () => (await tx.execute(isWaiting)).length).toBe(10);
      const { id } = await heartbeat(database.db, ann.id);
      const ofWorkflow = () => database.db.select().from(jobs).where(eq(jobs.workflowId, id));
      const isOver = async () => (await ofWorkflow()).some(({ status }) => isEnded(status));
      await expect.poll(isOver, { timeout: 20_000 }).toBe(true);

      expect(codes(await Promise.race(sent))).toEqual(['UNAVAILABLE']);
      expect(performance.now() - begun).toBeGreaterThan(29_000);
      return sent;
    });
    const ended = (await Promise.all(answers)).map((answer) => codes(answer)[0]);
    expect(ended).toContain(undefined); // the lock was released before their turn was over
    expect(await up.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    await database.close();
  },
  WAIT_MS_MAX * 2,
);
