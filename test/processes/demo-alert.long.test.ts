import { afterEach, describe, expect, test } from 'vitest';
import { cleanUp, tempFolder } from '../support/processes.ts';
import { demo, WITHOUT_ENGINE } from './support.ts';
import { receiver, verified } from './webhook.ts';

afterEach(cleanUp);

describe('the demo with ALERT_WEBHOOK', () => {
  test('replaces the channel and the workflow of an earlier start', async () => {
    const { url, received } = await receiver(204);
    const env = { ...WITHOUT_ENGINE, DATA_DIR: await tempFolder(), ALERT_WEBHOOK: url };
    for (const start of [1, 2]) {
      const once = demo(['--once'], env);
      expect((await once.exit()).code, once.output()).toBe(0);
      expect(received).toHaveLength(2 * start);
      const types = verified(received.slice(-2), once.output()).map(({ type }) => type);
      expect(types).toEqual(['workflow.failing', 'workflow.recovered']);
    }
  }, 120_000);

  test('ends with 1 and the reason when the webhook is gone', async () => {
    const { url } = await receiver(410);
    const once = demo(['--once'], { ...WITHOUT_ENGINE, DATA_DIR: await tempFolder(), ALERT_WEBHOOK: url });
    expect((await once.exit()).code, once.output()).toBe(1);
    expect(once.output()).toMatch(/^The alert did not complete: WORKFLOW_FAILING was not delivered .*\(410\)/m);
  });
});
