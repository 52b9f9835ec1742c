import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newId } from '../../domain/ids.ts';
import { requirePart } from '../support/parts.ts';
import { hasCommand, type OwnServer, ownEngine } from '../support/servers.ts';
import { until } from '../support/time.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts } from '../workflow-worker/support.ts';

const untested = 'builds while the Docker engine ends';
const isHere = requirePart('docker', untested) !== undefined && process.getuid?.() === 0;
const canStart = isHere && (await hasCommand('dockerd', untested));
describe.skipIf(!canStart)('an engine that ends during a build', () => {
  let engine: OwnServer;
  let here: Installation;
  beforeAll(async () => {
    engine = await ownEngine({ liveRestore: false });
    await engine.start();
    here = await openInstallation(engine.address);
    await here.start();
  });
  afterAll(async () => {
    await here?.close();
    await engine?.close();
  });

  test.each(['stop', 'kill'] as const)(
    'P4: %s: the build does not count as failed, and is built when the engine is back',
    async (how) => {
      const { db } = here.database;
      // Less than the 10 s after which an engine that stops kills its containers.
      const dockerfile = `FROM ${IMAGE}\nRUN echo ${newId()} && sleep 5`;
      const { id, buildId } = await here.create({ build: { dockerfile }, args: ['true'], network: 'NONE' });
      await until('a step runs', async () =>
        (await storedTexts(db, buildId)).some((text) => text.startsWith('Step 2')),
      );
      await engine[how]();
      await engine.start();
      expect(await buildIn(db, buildId, 'COMPLETED')).toMatchObject({ error: null });
      await here.job(id, 'COMPLETED');
      await until('nothing is left on the engine', async () => (await here.containers()).length === 0);
    },
  );
});
