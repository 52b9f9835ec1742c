import { afterEach, describe, expect, test } from 'vitest';
import { requirePart } from '../support/parts.ts';
import { cleanUp, tempFolder } from '../support/processes.ts';
import { demo, WITHOUT_ENGINE } from './support.ts';

afterEach(cleanUp);

const dockerHost = requirePart('docker', "the demo's CONTAINER workflow");

describe('the demo', () => {
  test('runs its HEARTBEAT to the end without an engine, says what is missing, and ends with 0', async () => {
    const once = demo(['--once'], { ...WITHOUT_ENGINE, DATA_DIR: await tempFolder() });
    expect(await once.exit()).toEqual({ code: 0, signal: null });
    expect(once.output()).toContain('so the demo goes on without its CONTAINER workflow.');
    expect(once.output()).toMatch(/^heartbeat \| COMPLETED$/m);
    // One line says how to see alerts.
    expect(once.output().match(/^.*ALERT_WEBHOOK.*$/gm)).toHaveLength(1);
  });

  test.skipIf(dockerHost === undefined)('runs its CONTAINER too if an engine answers', async () => {
    const image = process.env.DEMO_IMAGE ?? '';
    const once = demo(['--once'], { DATA_DIR: await tempFolder(), DOCKER_HOST: dockerHost ?? '', DEMO_IMAGE: image });
    expect((await once.exit()).code, once.output()).toBe(0);
    expect(once.output()).toMatch(/^container \| line 1 of 5, at /m);
    expect(once.output()).toMatch(/^container \| done$/m);
    expect(once.output()).toMatch(/^container \| COMPLETED$/m);
  });
});
