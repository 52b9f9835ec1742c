import { afterEach, expect, test } from 'vitest';
import { cleanUp, tempFolder } from '../support/processes.ts';
import { demo, WITHOUT_ENGINE } from './support.ts';
import { receiver, verified } from './webhook.ts';

afterEach(cleanUp);

test('the demo sends an alert and the end of its incident to ALERT_WEBHOOK, signed with the secret that it prints', async () => {
  const { url, received } = await receiver(204);
  const once = demo(['--once'], { ...WITHOUT_ENGINE, DATA_DIR: await tempFolder(), ALERT_WEBHOOK: url });
  expect((await once.exit()).code, once.output()).toBe(0);
  const [first, second, ...others] = verified(received, once.output());
  expect([first?.type, second?.type, others]).toEqual(['workflow.failing', 'workflow.recovered', []]);
  expect(second?.data).toEqual({ title: 'Demo alert works again', incident: first?.data.incident });
  expect(once.output()).toMatch(/^alert \| WORKFLOW_RECOVERED was delivered$/m);
});
