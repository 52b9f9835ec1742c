import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSettings } from '../../platform/settings/parse.ts';
import type { Setting } from '../../platform/settings/setting.ts';
import { SETTINGS } from '../../platform/settings/settings.ts';
import { requirePart } from '../support/parts.ts';
import { until } from '../support/time.ts';
import { buildIn, type Installation, openInstallation, storedTexts } from '../workflow-worker/support.ts';
import { AT_THE_ENGINE } from './ends-at-the-engine.ts';

const host = requirePart('docker', 'the ends of the ranges of settings of containers');

/** The settings of the workflow worker with all these values at one end of their ranges. */
function workerAt(end: 'min' | 'max', changes: Record<string, string> = {}) {
  const all: Record<string, Setting<unknown>> = SETTINGS;
  const env = Object.fromEntries(AT_THE_ENGINE.map((name) => [name, String(all[name]?.schema.meta()?.[end])]));
  const { settings } = parseSettings({ ...env, ...changes });
  const { maxJobSeconds, maxBuildSeconds, maxResources, maxJobLogBytes, maxContainerDiskBytes } = settings;
  const { imageRetentionDays } = settings;
  return {
    capacity: settings.containersMax,
    containersPerUserMax: settings.runningPerUser.containers,
    buildsPerUserMax: settings.runningPerUser.builds,
    maxJobSeconds,
    maxBuildSeconds,
    maxResources,
    imageRetentionDays,
    maxLogBytes: maxJobLogBytes,
    maxDiskBytes: maxContainerDiskBytes,
  };
}

describe.skipIf(host === undefined)('settings of containers', () => {
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
  });
  afterAll(() => here.close());
  const shell = (script: string) => ({ command: ['sh', '-c'], args: [script] });

  test('at the largest values a job that requests them runs to its end without being stopped by its time-out', async () => {
    const settings = workerAt('max');
    const worker = await here.start(settings);
    const { memoryMb: memory_mb, pids } = settings.maxResources;
    const asked = { timeout_seconds: settings.maxJobSeconds, resources: { memory_mb, pids } };
    const { id } = await here.create({ ...shell('sleep 1; echo whole'), ...asked });
    const job = await here.job(id, 'COMPLETED');
    expect(await storedTexts(here.database.db, job.id)).toEqual(['whole']);
    await worker.close();
  });

  test('at the smallest values a job gets no more than they allow', async () => {
    const worker = await here.start(workerAt('min'));
    const { id, buildId } = await here.create(shell('while :; do :; done'));
    await buildIn(here.database.db, buildId, 'COMPLETED');
    expect(await here.job(id, 'FAILED')).toMatchObject({
      failureReason: 'TIMEOUT',
      failureMessage: expect.stringContaining(' 1 s'),
    });
    await until('its container is gone', async () => (await here.containers()).length === 0);
    await worker.close();
  });
});
