import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { runWorkflow } from '../../db/jobs/request.ts';
import { createDocker } from '../../platform/docker/docker.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { requirePart } from '../support/parts.ts';
import { type RefusingEngine, refusingEngine } from '../support/refusing-engine.ts';
import { imagePatterns, quiet } from '../support/workers.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts } from './support.ts';

const host = requirePart('docker', 'images that the operator made on the engine');
describe.skipIf(host === undefined)('an image that the operator made on the engine', () => {
  let here: Installation;
  let engine: RefusingEngine;
  let worker: Worker;
  beforeAll(async () => {
    here = await openInstallation(host);
    engine = await refusingEngine(host ?? '');
    worker = await start('*');
  });
  afterEach(() => {
    engine.refuse = undefined;
  });
  afterAll(async () => {
    await here.close();
    await engine.close();
  });

  const start = (localImages: string) =>
    here.start({
      docker: createDocker({ host: engine.host, log: quiet }),
      localImages: imagePatterns(localImages),
    });
  const run = async (args: string[] = []) => {
    const made = await here.create({ command: ['true'], args, network: 'NONE' });
    const { userId } = await here.job(made.id, 'COMPLETED');
    return { ...made, userId };
  };

  test('is looked for without holding up the jobs of an engine that does not say whether it has it', async () => {
    await here.database.db.execute(sql`
      INSERT INTO workers (owner, name, version, host, engine_id, engine_seen_at)
      VALUES ('another', 'workflow', '1', 'another', 'another', now())`);
    const { id, userId } = await run();
    engine.refuse = (method, path) =>
      method === 'GET' && path.startsWith('/images/') ? { status: 500, message: 'it is busy' } : undefined;
    await runWorkflow(here.database.db, { userId, id });
    expect(await here.job(id, 'COMPLETED', 1)).toMatchObject({ attempt: 1 });
    expect(engine.refused).toBeGreaterThan(0);
    await here.database.db.execute(sql`DELETE FROM workers WHERE owner = 'another'`);
  });

  test('is no longer run when the operator does not let users have it any more', async () => {
    const { id, userId } = await run(['was allowed']);
    await worker.close();
    worker = await start('none.invalid/*');
    await runWorkflow(here.database.db, { userId, id });
    const job = await here.job(id, 'FAILED', 1);
    expect(job).toMatchObject({ failureReason: 'SYSTEM', attempt: 1 });
    expect(job.failureMessage).toContain('the operator does not let users have it any more');
    await worker.close();
    worker = await start('*');
  });

  test('is not pulled over by a user who has a login', async () => {
    const id = await here.docker.findImage(IMAGE);
    const registry_auth = { username: 'ann', password: 'a login' };
    const { buildId } = await here.create({ command: ['true'], network: 'NONE', registry_auth });
    await buildIn(here.database.db, buildId, 'COMPLETED');
    expect((await storedTexts(here.database.db, buildId)).join()).toContain('no registry has given it');
    expect(await here.docker.findImage(IMAGE)).toBe(id);
  });
});
