import { describe, expect, test } from 'vitest';
import { createCrowd, LATE_MS } from '../../workers/execution/network/crowd.ts';

const MINUTE_MS = 60_000;

function crowdAt(clock: { now: number }) {
  const crowd = createCrowd(() => clock.now);
  /** So many hosts of one user fail. */
  const fail = (user: string, count: number) => {
    for (let n = 0; n < count; n += 1) crowd.begin(user, `${user}${n}.test`).failed();
    clock.now += LATE_MS;
  };
  return { crowd, fail };
}

describe('the checks of many hosts', () => {
  test('say nothing while fewer than five fail, or after somebody has reached a host', () => {
    const { crowd, fail } = crowdAt({ now: 0 });
    fail('ann', 4);
    expect(crowd.failing()).toBe(0);
    fail('ann', 5);
    expect(crowd.failing()).toBe(5);
    crowd.begin('ann', 'up.test').reached({ host: '192.0.2.1', port: 80 });
    expect(crowd.failing()).toBe(0);
    fail('ann', 5);
    crowd.begin('ann', 'refusing.test').answered();
    expect(crowd.failing()).toBe(0);
  });

  test('count a host once, one without an answer after a second, and a failure for five minutes', () => {
    const clock = { now: 0 };
    const { crowd, fail } = crowdAt(clock);
    for (let n = 0; n < 9; n += 1) fail('ann', 1);
    expect(crowd.failing({ soon: true })).toBe(0);
    for (let n = 1; n < 5; n += 1) crowd.begin('ann', `ann${n}.test`);
    clock.now += LATE_MS / 2;
    expect([crowd.failing(), crowd.failing({ soon: true })]).toEqual([0, 5]);
    clock.now += LATE_MS / 2 + 1;
    expect(crowd.failing()).toBe(5);
    clock.now += 5 * MINUTE_MS;
    expect(crowd.failing({ soon: true })).toBe(0);
  });

  test('keep the last 2,000 hosts', () => {
    const { crowd, fail } = crowdAt({ now: 0 });
    fail('ann', 2_001);
    expect(crowd.failing()).toBe(2_000);
  });

  test('count no user for more than all others together, unless there is no other', () => {
    const { crowd, fail } = crowdAt({ now: 0 });
    fail('ann', 100);
    expect(crowd.failing()).toBe(100);
    fail('bob', 2);
    expect(crowd.failing()).toBe(0);
    fail('bob', 3);
    expect(crowd.failing()).toBe(103);
    crowd.begin('ann', 'up.test').reached({ host: '192.0.2.1', port: 80 });
    fail('ann', 100);
    fail('bob', 1);
    fail('cem', 2);
    expect(crowd.failing()).toBe(103);
  });

  test('keep a failure that another attempt has seen', () => {
    const { crowd, fail } = crowdAt({ now: 0 });
    fail('ann', 5);
    crowd.begin('ann', 'ann0.test').withdraw();
    expect(crowd.failing()).toBe(5);
    const first = crowd.begin('ann', 'shared.test');
    crowd.begin('ann', 'shared.test').failed();
    first.withdraw();
    expect(crowd.failing()).toBe(6);
    crowd.begin('ann', 'own.test').withdraw();
    expect(crowd.failing({ soon: true })).toBe(6);
  });

  test('remember the last three hosts that were reached, for an hour', () => {
    const clock = { now: 0 };
    const { crowd } = crowdAt(clock);
    for (const host of ['a', 'b', 'c', 'b', 'd']) crowd.begin('ann', host).reached({ host, port: 80 });
    expect(crowd.acquaintances().map(({ host }) => host)).toEqual(['c', 'b', 'd']);
    clock.now += 60 * MINUTE_MS;
    expect(crowd.acquaintances()).toEqual([]);
  });
});
