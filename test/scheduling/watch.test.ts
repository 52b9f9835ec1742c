import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Connection, connect, tryToWrite } from '../../db/client.ts';
import { startWatch, type Watch } from '../../workers/scheduling/database-watch.ts';
import { createUptime } from '../../workers/shared/uptime.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { proxyTo, type TestProxy } from '../support/proxy.ts';
import { until } from '../support/time.ts';
import { quiet } from '../support/workers.ts';

/** The two clocks of a process, which the test controls. */
function clocks() {
  const at = { monotonic: 5_000, wall: 1_000_000_000 };
  return {
    now: () => ({ ...at }),
    pass(seconds: number, { asleep = false } = {}) {
      at.wall += seconds * 1_000;
      if (!asleep) at.monotonic += seconds * 1_000;
    },
    set(seconds: number) {
      at.wall += seconds * 1_000;
    },
  };
}

function reach() {
  const clock = clocks();
  const reached = createUptime({ gapMs: 10_000, now: clock.now });
  const answerAfter = (seconds: number, options?: { asleep: boolean }) => {
    clock.pass(seconds, options);
    reached.goesOn();
    return reached.seconds();
  };
  return { ...clock, ...reached, answerAfter };
}

test('time before the first answer does not count, and from then on it counts up to the last answer', () => {
  const { goesOn, seconds, answerAfter, pass } = reach();
  expect(seconds()).toBe(0);
  expect(goesOn()).toBe(true);
  expect([answerAfter(2), answerAfter(3)]).toEqual([2, 5]);
  pass(9);
  expect(seconds()).toBe(5);
  expect(goesOn()).toBe(false);
  expect(seconds()).toBe(14);
});

test('the frequency of looks changes nothing: slow passes are not a break', () => {
  const { answerAfter, seconds } = reach();
  for (let n = 0; n < 100; n++) answerAfter(2.5);
  expect(seconds()).toBeCloseTo(247.5);
  for (let n = 0; n < 24; n++) answerAfter(2.5); // one look per minute
  expect(seconds()).toBeCloseTo(307.5);
});

test.each([
  ['a question fails', ({ ended }: ReturnType<typeof reach>) => ended()],
  ['no answer comes for more than 10 s', ({ pass }: ReturnType<typeof reach>) => pass(10.1)],
  ['the machine sleeps', ({ pass }: ReturnType<typeof reach>) => pass(11, { asleep: true })],
  ['the clock is set back', ({ set }: ReturnType<typeof reach>) => set(-0.001)],
  [
    'the clock is set back while the process is frozen for as long',
    ({ pass, set }: ReturnType<typeof reach>) => {
      pass(60);
      set(-60);
    },
  ],
  ['the clock is set forward', ({ set }: ReturnType<typeof reach>) => set(60)],
])('it is a break when %s: 0 at once and until an answer, then counted from the next one', (_, happens) => {
  const watched = reach();
  for (let n = 0; n < 10; n++) watched.answerAfter(5);
  expect(watched.seconds()).toBe(45);
  happens(watched);
  expect(watched.seconds()).toBe(0);
  expect(watched.goesOn()).toBe(true);
  expect(watched.seconds()).toBe(0);
  expect(watched.answerAfter(5)).toBe(5);
});

let database: TestDatabase;
let proxy: TestProxy;
let connection: Connection;
beforeAll(async () => {
  database = await testDatabase();
  const url = new URL(database.url);
  proxy = await proxyTo(url.hostname, Number(url.port));
  url.port = String(proxy.port);
  connection = connect(url.href, { max: 1, application: 'chronoverse-test' });
});
afterAll(async () => {
  await connection.close();
  await proxy.close();
  await database.close();
});

async function watching(changes: Partial<Parameters<typeof startWatch>[0]>, run: (watch: Watch) => Promise<void>) {
  const watch = startWatch({ ask: () => tryToWrite(connection.lone), log: quiet, everyMs: 5, ...changes });
  try {
    await run(watch);
  } finally {
    await watch.close();
  }
}

test('a database that goes away and comes back is a break, and its end is reported', async () => {
  let back = 0;
  await watching({ onBack: () => (back += 1) }, async ({ seconds }) => {
    await until('it counts', async () => seconds(Date.now()) > 0.1);
    expect(back).toBe(1);
    proxy.cut();
    await until('the break is seen', async () => seconds(Date.now()) === 0);
    proxy.restore();
    await until('it counts again', async () => seconds(Date.now()) > 0);
    expect(back).toBeGreaterThanOrEqual(2);
  });
});

test('a clock of the database that is set, forward or back, is a break: at once, and until the next question', async () => {
  let setMs = 0;
  let mayAsk = Promise.resolve();
  let goOn: () => void = () => undefined;
  let back = 0;
  const ask = async () => {
    await mayAsk;
    return (await tryToWrite(database.db)) + setMs;
  };
  await watching({ ask, onBack: () => (back += 1) }, async ({ seconds }) => {
    for (const hours of [1, -2]) {
      await until('it counts', async () => seconds(Date.now() + setMs) > 0.1);
      mayAsk = new Promise((resolve) => {
        goOn = resolve;
      });
      expect(seconds(Date.now() + setMs + hours * 3_600_000)).toBe(0);
      expect(seconds(Date.now() + setMs)).toBeGreaterThan(0.1);
      const backBefore = back;
      setMs += hours * 3_600_000;
      goOn();
      await until('the break has ended', async () => back > backBefore);
    }
  });
});

test('a pool whose connections are all busy is not a break', async () => {
  await watching({}, async ({ seconds }) => {
    let busy = true;
    const slow = connection.db.execute(sql`SELECT pg_sleep(1)`).then(() => {
      busy = false;
    });
    await until('it counts', async () => seconds(Date.now()) > 0.2);
    expect(busy).toBe(true);
    await slow;
  });
});

test('a database that accepts no writes counts as away, even if it answers', async () => {
  await tryToWrite(database.db);
  const read = database.db.transaction((tx) => tryToWrite(tx), { accessMode: 'read only' });
  await expect(read).rejects.toThrow('The database is read-only.');
});
