import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { logCursor } from '../../api/logs/cursor.ts';
import { cleanUp } from '../support/processes.ts';
import { untilSlow } from '../support/time.ts';
import { expectWhole, printer } from './printer.ts';
import { randomOf } from './random.ts';
import { type Followed, follow, nothingYet } from './subscriber.ts';
import { type Installation, openInstallation, requireServers } from './support.ts';

const SUBSCRIBERS = 300;
/**
 * The longest pause between two subscribers: about two chunks of the printer, so that subscribers
 * join before, in and after a chunk.
 */
const JOIN_MS_MAX = 50;

const servers = requireServers('subscribers that join while a container prints');
describe.skipIf(servers === undefined)('subscribers to a container that prints', () => {
  let here: Installation;
  let urls: string[];
  beforeAll(async () => {
    if (servers === undefined) return;
    here = await openInstallation(servers);
    const apis = [here.start('api'), here.start('api')];
    await here.start('worker', 'scheduling', 'workflow', 'joblogs').ready();
    urls = await Promise.all(apis.map((api) => api.ready()));
  });
  afterAll(async () => {
    await cleanUp();
    await here?.close();
  });

  test(`P4: ${SUBSCRIBERS} that join one after the other, behind any line, through two api processes, over WebSocket and SSE, get every line once and in order`, async () => {
    const random = randomOf('instants of joining');
    const id = await here.create(printer(0, { pairs: 25 }));
    const { id: jobId } = await here.job(id, 'RUNNING');
    await untilSlow('it prints', async () => (await here.progress(jobId)).stored > 0);
    const joined: { after: number; followed: Followed; ended: Promise<void> }[] = [];
    const begun = performance.now();
    for (let n = 0; n < SUBSCRIBERS; n += 1) {
      // Begins behind a stored line, behind a line that is just not stored, behind a line that is
      // not printed yet, or at the beginning.
      const last = Math.max(0, ...joined.map(({ followed }) => followed.last));
      const after = n % 4 === 0 ? 0 : Math.floor(random() * (last + 500));
      const followed = { ...nothingYet(), last: after, cursor: after === 0 ? undefined : logCursor(jobId, after) };
      const transport = n % 2 === 0 ? 'WEBSOCKET' : 'SSE';
      const ended = follow({ url: urls[(n >> 1) % urls.length] ?? '', token: here.token, jobId, transport }, followed);
      ended.catch(() => undefined); // reported at the end
      joined.push({ after, followed, ended });
      await delay(random() * JOIN_MS_MAX);
    }
    const beyond = Math.max(...joined.map(({ after }) => after));
    await untilSlow('every line is printed that somebody joined behind', async () => {
      return (await here.progress(jobId)).stored > beyond;
    });
    await here.tell(jobId);
    const { logLineCount } = await here.job(id, 'ENDED');
    await Promise.all(joined.map(({ ended }) => ended));
    console.info(`${SUBSCRIBERS} joined within ${Math.round(performance.now() - begun)} ms, of ${logLineCount} lines`);

    const lines = await here.lines(jobId);
    expectWhole(lines);
    const all = lines.map(({ text }) => text);
    for (const [n, { after, followed }] of joined.entries()) {
      expect({ n, complete: followed.complete, last: followed.last }).toEqual({
        n,
        complete: true,
        last: logLineCount,
      });
      const wrong = followed.texts.findIndex((text, index) => text !== all[after + index]);
      expect({ n, after, wrong, count: followed.texts.length }).toEqual({
        n,
        after,
        wrong: -1,
        count: all.length - after,
      });
    }
  }, 120_000);
});
