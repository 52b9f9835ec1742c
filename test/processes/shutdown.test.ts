import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { createShutdown, SHUTDOWN_SECONDS_MAX, SHUTDOWN_STAGES, type ShutdownStage } from '../../bin/shutdown.ts';

describe('the stages of a shutdown', () => {
  const by = (name: ShutdownStage) => SHUTDOWN_STAGES.findIndex(({ stage }) => stage === name);

  test('end one after the other, the last one within the limit of the whole', () => {
    const times = SHUTDOWN_STAGES.map(({ bySeconds }) => bySeconds);
    expect(times).toEqual([...times].sort((one, other) => one - other));
    expect(times.at(-1)).toBe(SHUTDOWN_SECONDS_MAX);
  });

  test('reserve time for the storage of lines, after everything that makes lines', () => {
    for (const stage of ['api', 'scheduling', 'runs'] as const) expect(by(stage)).toBeLessThan(by('log storage'));
    expect(by('log storage')).toBeLessThan(by('bus'));
    const before = SHUTDOWN_STAGES[by('log storage') - 1]?.bySeconds ?? 0;
    expect((SHUTDOWN_STAGES[by('log storage')]?.bySeconds ?? 0) - before).toBeGreaterThanOrEqual(5);
  });
});

describe('a shutdown', () => {
  const make = () => {
    const lines: string[] = [];
    const log = pino({ level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line).msg) });
    return { lines, shutdown: createShutdown(log) };
  };

  test('closes by stage, whatever the order in which parts were opened', async () => {
    const { shutdown, lines } = make();
    for (const stage of ['database', 'log storage', 'api', 'runs', 'scheduling'] as const)
      shutdown.add(stage, stage, async () => undefined);
    await Promise.all([shutdown.close(), shutdown.close()]);
    expect(lines).toEqual(['api', 'scheduling', 'runs', 'log storage', 'database'].map((name) => `${name}: closed`));
    expect(shutdown.signal.aborted).toBe(true);
  });

  test('closes a part that is opened after its stage, and waits for it', async () => {
    const { shutdown, lines } = make();
    let isClosed = false;
    shutdown.add('log storage', 'storage', async () => {
      shutdown.add('runs', 'late worker', async () => {
        await new Promise((resolve) => setImmediate(resolve));
        isClosed = true;
      });
    });
    await shutdown.close();
    expect(isClosed).toBe(true);
    expect(lines.toSorted()).toEqual(['late worker: closed', 'storage: closed']);
  });

  test('continues past a part that fails and past one that never closes', async () => {
    const { shutdown, lines } = make();
    let isToldToGiveUp = false;
    shutdown.add('clients', 'stuck', (deadline) => {
      deadline.addEventListener('abort', () => {
        isToldToGiveUp = true;
      });
      return new Promise(() => undefined);
    });
    shutdown.add('clients', 'broken', () => Promise.reject(new Error('broken')));
    shutdown.add('database', 'database', async () => undefined);
    const started = performance.now();
    await shutdown.close();
    expect(performance.now() - started).toBeLessThan(SHUTDOWN_SECONDS_MAX * 1_000);
    expect(isToldToGiveUp).toBe(true);
    expect(lines).toEqual([
      'broken could not be closed cleanly.',
      'stuck did not close in its time, and is left behind.',
      'database: closed',
    ]);
  });
});
