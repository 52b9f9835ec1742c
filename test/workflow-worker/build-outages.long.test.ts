import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../db/client.ts';
import { newId } from '../../domain/ids.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import type { WorkflowParts } from '../../workers/workflow/worker.ts';
import { requirePart } from '../support/parts.ts';
import { proxyTo, type TestProxy } from '../support/proxy.ts';
import { until } from '../support/time.ts';
import { letStepsGo } from './engine-state.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts } from './support.ts';

/**
 * Longer than the pause between two queries of scheduling, so that scheduling notices the break.
 */
const BREAK_MS = 4_000;
/** The length of an outage that hits a single call. */
const AWAY_MS = 1_500;

const host = requirePart('docker', 'builds while the database is away');
describe.skipIf(host === undefined)('builds and outages of the database', () => {
  let here: Installation;
  let proxy: TestProxy;
  let worker: Worker | undefined;
  beforeAll(async () => {
    here = await openInstallation(host, undefined, async (url) => {
      const proxied = new URL(url);
      proxy = await proxyTo(proxied.hostname, Number(proxied.port));
      proxied.port = String(proxy.port);
      return connect(proxied.href, { max: 10, application: 'chronoverse-test' });
    });
  });
  afterEach(async () => {
    proxy.restore();
    // A closed worker leaves a running container to the next one, but the last worker has no
    // successor.
    await until('the first job of each workflow has ended', async () => {
      const left = await here?.database.db.execute(sql`
        SELECT FROM workflows WHERE build_status = 'COMPLETED'
          AND NOT EXISTS (SELECT FROM jobs WHERE workflow_id = workflows.id AND completed_at IS NOT NULL)`);
      return left === undefined || left.length === 0;
    });
    await worker?.close();
  });
  afterAll(async () => {
    await here.close();
    await proxy.close();
  });

  async function start(changes: Partial<WorkflowParts> = {}): Promise<void> {
    worker = await here.start(changes);
  }

  /** Calls `run` with the database cut off before the call and for some time after it. */
  function cutBefore<Given extends unknown[], T>(run: (...given: Given) => Promise<T>) {
    let cuts = 1;
    return async (...given: Given): Promise<T> => {
      if (cuts > 0) {
        cuts -= 1;
        proxy.cut();
        setTimeout(proxy.restore, AWAY_MS);
      }
      return run(...given);
    };
  }

  test('P4: a build continues while the database is away for longer than its lease, and keeps its attempt', async () => {
    await start();
    const marker = newId();
    const print = 'i=$((i+1)); echo "line $i"; sleep 0.5';
    const dockerfile = `FROM ${IMAGE}\nRUN echo ${marker}; i=0; until [ -e /go ]; do ${print}; done; echo "end $i"`;
    const { buildId } = await here.create({ build: { dockerfile } });
    await buildIn(here.database.db, buildId, 'STARTED');
    await until('it prints', async () => (await storedTexts(here.database.db, buildId)).includes('line 1'));
    proxy.cut();
    await delay(BREAK_MS);
    await here.database.db.execute(sql`UPDATE builds SET lease_expires_at = now() - interval '1 minute'`);
    // This scheduler looks before a worker can renew a lease.
    const early = await startScheduling({ ...here.parts, db: here.database.db });
    proxy.restore();
    await letStepsGo(host, marker);
    const built = await buildIn(here.database.db, buildId, 'COMPLETED');
    await early.close();
    expect(built).toMatchObject({ attempt: 1, uncountedAttempts: 0 });
    const lines = await until('its log is whole', async () => {
      const texts = await storedTexts(here.database.db, buildId);
      return texts.length === built.logLineCount && texts;
    });
    const printed = lines.filter((text) => /^line \d+$/.test(text));
    expect(printed).toEqual(printed.map((_, n) => `line ${n + 1}`));
    expect(lines).toContain(`end ${printed.length}`);
  });

  test.each([
    ['an image', {}],
    ['a Dockerfile', { build: { dockerfile: `FROM ${IMAGE}\nRUN echo ${newId()}` } }],
  ])('P4: a build of %s that needs the database during an outage waits for it', async (_, payload) => {
    const { docker } = here;
    await start({ docker: { ...docker, findNamedImage: cutBefore(docker.findNamedImage) } });
    const { buildId } = await here.create(payload);
    expect(await buildIn(here.database.db, buildId, 'COMPLETED')).toMatchObject({ attempt: 1, uncountedAttempts: 0 });
  });

  test('a build that waits for the database gets its full time when the database is back', async () => {
    const { docker } = here;
    await start({ docker: { ...docker, findNamedImage: cutBefore(docker.findNamedImage) }, maxBuildSeconds: 1 });
    const { buildId } = await here.create({});
    expect(await buildIn(here.database.db, buildId, 'COMPLETED')).toMatchObject({ attempt: 1 });
  });

  test('P4: a build that ends during an outage is COMPLETED when the database is back', async () => {
    const { cache } = here.parts;
    await start({ cache: { ...cache, set: cutBefore(cache.set) } });
    const { id, buildId } = await here.create({ args: ['true'] });
    expect(await buildIn(here.database.db, buildId, 'COMPLETED')).toMatchObject({ attempt: 1 });
    await here.job(id, 'COMPLETED');
  });
});
