import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { CANCEL_CHANNEL, encodeIds } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { testUser } from '../support/database.ts';
import { requirePart } from '../support/parts.ts';
import { buildIn, IMAGE, type Installation, openInstallation } from '../workflow-worker/support.ts';
import { countOf, untilCount } from './support.ts';

const host = requirePart('docker', 'fair shares of builds');
describe.skipIf(host === undefined)('builds of several users', () => {
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
  });
  afterAll(() => here.close());

  test('P11: one user’s slow builds leave a slot to another user', async () => {
    const { db } = here.database;
    const worker = await here.start();
    const [greedy, modest] = [await testUser(db, 'greedy'), await testUser(db, 'modest')];
    const slow = await Promise.all(
      Array.from({ length: 6 }, () =>
        here.create({ build: { dockerfile: `FROM ${IMAGE}\nRUN echo ${newId()} && sleep 60` } }, 3, greedy),
      ),
    );
    await untilCount(db, 'builds', greedy, 'STARTED', 3);
    const { id, buildId } = await here.create({ args: ['true'] }, 3, modest);
    await buildIn(db, buildId, 'COMPLETED');
    await here.job(id, 'COMPLETED');
    expect(await countOf(db, 'builds', greedy, 'STARTED')).toBe(3);
    expect(await countOf(db, 'builds', greedy, 'QUEUED')).toBe(3);

    const ended = await Promise.all(slow.map(({ id }) => terminateWorkflow(db, { userId: greedy, id })));
    await here.parts.cache.publish(
      CANCEL_CHANNEL,
      encodeIds(ended.flatMap((one) => one?.effects.stopping.buildIds ?? [])),
    );
    await untilCount(db, 'builds', greedy, 'CANCELED', 6);
    await worker.close();
  });
});
