import { describe, expect, test } from 'vitest';
import { inNamespace, missing } from './namespace.ts';
import type { Round } from './namespace-checks.ts';
import { outcome } from './support.ts';

/**
 * Behind the router live 10.60.0.1 and 10.60.0.2, which accept at port 80 and refuse elsewhere. It
 * answers for no host of 10.70.0.0/16, and drops packets to 10.72.0.0/16.
 */
const ROUTER = `
  ip addr add 10.60.0.1/24 dev lo
  ip addr add 10.60.0.2/24 dev lo
  ip route add unreachable 10.70.0.0/16
  ip route add blackhole 10.72.0.0/16
`;

const NO_HOST = 'This machine reaches no host: the checks of many hosts fail at once.';
const alone = { worker: {} };

function hosts(network: string, count: number, user = 'ann'): Round['checks'] {
  return Array.from({ length: count }, (_, n) => ({
    endpoint: `tcp://${network}.${n + 1}:80`,
    user,
    timeoutSeconds: 1.2,
  }));
}

describe.skipIf(missing)('checks of many hosts that fail at once', () => {
  test('blames the network when many hosts fail at once and none is reached, unless one that was reached is', async () => {
    const rounds = await inNamespace({ router: ROUTER }, [
      { ...alone, checks: hosts('10.72.0', 4) },
      { ...alone, checks: hosts('10.72.0', 5) },
      { ...alone, checks: hosts('10.70.0', 5) },
      { ...alone, checks: [{ endpoint: 'tcp://10.60.0.1:80' }] },
      { checks: hosts('10.72.0', 5) },
      {
        ...alone,
        checks: [...'abcdef'].map((name) => ({ endpoint: `tcp://${name}.one.test:80`, timeoutSeconds: 1.2 })),
      },
    ]);
    const [few, many, unreachable, , known, oneServer] = rounds.map(({ results }) => results.map(outcome));
    for (const one of few ?? []) expect(one).toMatch(/^TIMEOUT: .*:80\.$/);
    for (const one of many ?? [])
      expect(one).toBe(
        `SYSTEM: Timed out after 1.2 s waiting for a connection to ${/10[\d.]+:80/.exec(one)}. ${NO_HOST}`,
      );
    for (const one of unreachable ?? []) expect(one).toMatch(/^SYSTEM: .*many hosts fail at once/);
    for (const one of oneServer ?? []) expect(one).toMatch(/^TIMEOUT: .*:80\.$/);
    for (const one of known ?? []) expect(one).toMatch(/^TIMEOUT: .*:80\.$/);
    expect(rounds.map(({ log }) => log.length)).toEqual([0, 1, 1, 0, 0, 0]);
  });

  test('does not let the dead hosts of one user decide about another user', async () => {
    const rounds = await inNamespace({ router: ROUTER }, [
      { ...alone, checks: [...hosts('10.72.0', 9), ...hosts('10.72.1', 1, 'bob')] },
      { ...alone, checks: [...hosts('10.72.0', 9), ...hosts('10.72.1', 3, 'bob')] },
    ]);
    const [one, several] = rounds.map(({ results }) => results.map((result) => outcome(result).slice(0, 7)));
    expect(new Set(one)).toEqual(new Set(['TIMEOUT']));
    expect(new Set(several)).toEqual(new Set(['SYSTEM:']));
  });
});
