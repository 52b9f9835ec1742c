import { describe, expect, test } from 'vitest';
import { check, outcome, texts } from './support.ts';

const up = async () => true;
const down = async () => false;
const broken = async () => {
  throw new Error('no route');
};
const silent = () => new Promise<boolean>(() => undefined);

describe('a heartbeat without an endpoint', () => {
  test('succeeds if database, bus and cache do, in one line with their times', async () => {
    const result = await check({});
    expect(outcome(result)).toBe('ok');
    expect(texts(result)).toEqual([
      expect.stringMatching(/^database up \([\d.]+ ms\), bus up \([\d.]+ ms\), cache up \([\d.]+ ms\)$/),
    ]);
    expect(result.lines[0]?.stream).toBe('STDOUT');
  });

  test('blames the platform if one of them is down or cannot be asked', async () => {
    for (const bus of [down, broken]) {
      const result = await check({}, { platform: { database: up, bus, cache: up } });
      expect(outcome(result)).toMatch(
        /^SYSTEM: The platform is not well: database up .*, bus down .*, cache up .*expected to be up\.$/,
      );
      expect(result.lines).toEqual([
        expect.objectContaining({ stream: 'STDERR', text: expect.stringContaining('bus down') }),
      ]);
    }
  });

  test('waits for a silent one no longer than the time-out', async () => {
    const result = await check({ timeout_seconds: 0.05 }, { platform: { database: silent, bus: up, cache: up } });
    expect(outcome(result)).toMatch(/^SYSTEM: .*database silent \(for [\d.]+ ms\), bus up/);
  });

  test('asks all three at once', async () => {
    let asked = 0;
    const together = async () => {
      asked += 1;
      while (asked < 3) await Promise.resolve();
      return true;
    };
    expect(outcome(await check({}, { platform: { database: together, bus: together, cache: together } }))).toBe('ok');
  });

  test('ends at once when its caller aborts', async () => {
    const abort = new AbortController();
    const result = check({}, { platform: { database: silent, bus: up, cache: up }, signal: abort.signal });
    abort.abort();
    expect(outcome(await result)).toMatch(/^SYSTEM/);
  });
});
