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

const alone = { worker: {} };

function hosts(network: string, count: number, user = 'ann'): Round['checks'] {
  return Array.from({ length: count }, (_, n) => ({
    endpoint: `tcp://${network}.${n + 1}:80`,
    user,
    timeoutSeconds: 1.2,
  }));
}

describe.skipIf(missing).concurrent('a check on a machine whose network may be at fault', () => {
  test('blames the machine for a dead gateway and for its own routes, and a host on its link for itself', async () => {
    const routes = `
      ip route add prohibit 10.50.0.0/16
      ip route add blackhole 10.51.0.0/16
      ip route add unreachable 10.52.0.0/16
      ip route add throw 10.53.0.0/16
      ip -6 route add prohibit fd50::/16
      ip -6 route add unreachable fd72::/16
      ip -6 route add blackhole fd51::/16
    `;
    const endpoints = ['tcp://10.1.1.1:80', 'http://10.1.1.2/', 'tcp://[fd11::1]:80'];
    const local = ['10.50.0.1', '10.51.0.1', '10.52.0.1', '10.53.0.1', '[fd50::1]', '[fd51::1]'].map(
      (host) => `tcp://${host}:80`,
    );
    const hostsOwn = ['10.99.0.77', '10.99.0.255', '10.99.0.1', '127.0.0.1', '[fd99::77]'].map(
      (host) => `tcp://${host}:80`,
    );
    const [round, short] = await inNamespace({ routes }, [
      { ...alone, checks: [...endpoints, ...local, ...hostsOwn].map((endpoint) => ({ endpoint })) },
      {
        ...alone,
        checks: ['10.1.1.1', 'far.test'].map((host) => ({ endpoint: `tcp://${host}:80`, timeoutSeconds: 0.5 })),
      },
    ]);
    const said = round?.results.map(outcome) ?? [];
    expect(said.slice(0, 3)).toEqual([
      expect.stringMatching(/^SYSTEM: The gateway of this machine does not answer\. .*EHOSTUNREACH/),
      expect.stringMatching(/^SYSTEM: The gateway of this machine does not answer\. .*EHOSTUNREACH/),
      expect.stringMatching(/^SYSTEM: The gateway of this machine does not answer\. .*EHOSTUNREACH/),
    ]);
    for (const one of said.slice(3, 9)) expect(one).toMatch(/^SYSTEM: .* The fault is this machine's\.$/);
    for (const one of said.slice(9)) expect(one).toMatch(/^CHECK_FAILED: .* A connection was expected\.$/);
    expect(said).toHaveLength(14);
    expect(round?.log).toEqual([
      'Heartbeats fail by a fault of this machine or its network. The gateway of this machine does not answer.',
    ]);
    // Before the kernel gives up, too, and if there is no route to the addresses of the other
    // family.
    expect(short?.results.map(outcome)).toEqual([
      'SYSTEM: Timed out after 0.5 s waiting for a connection to 10.1.1.1:80. The gateway of this machine does not answer.',
      'SYSTEM: Timed out after 0.5 s waiting for a connection to [fd72::1]:80 or 10.72.0.1:80. The gateway of this machine does not answer.',
    ]);
  });

  test('blames one host that its router does not reach or that is silent, and believes the services that the operator names', async () => {
    const endpoints = ['10.70.0.1:80', '10.60.0.1:80', '10.60.0.1:81', 'mixed.test:80', 'noway.test:80'].map((at) => ({
      endpoint: `tcp://${at}`,
    }));
    const checks = [...hosts('10.72.0', 5), { endpoint: 'tcp://10.60.0.2:81' }, { endpoint: 'tcp://10.99.0.77:80' }];
    const dead = { host: '10.60.0.1', port: 81 };
    const rounds = await inNamespace({ router: ROUTER, routes: 'ip -6 route add prohibit fd50::/16' }, [
      { ...alone, checks: [...endpoints, ...hosts('10.72.0', 1)] },
      { worker: { targets: [dead, { host: '10.60.0.1', port: 80 }] }, checks },
      { worker: { targets: [dead] }, checks: checks.slice(4) },
    ]);
    const [single, well, ill] = rounds.map(({ results }) => results.map(outcome));
    expect(single).toEqual([
      expect.stringMatching(/^CHECK_FAILED: No connection to 10\.70\.0\.1:80: EHOSTUNREACH/),
      'ok',
      expect.stringMatching(/^CHECK_FAILED: .*ECONNREFUSED/),
      'ok', // although 20 IPv6 addresses hang
      'ok', // at the eighth IPv4 address: there is no way to any of the IPv6 ones
      'TIMEOUT: Timed out after 1.2 s waiting for a connection to 10.72.0.1:80.',
    ]);
    for (const one of well?.slice(0, 5) ?? []) expect(one).toMatch(/^TIMEOUT: .*:80\.$/);
    expect(well?.[5]).toMatch(/^CHECK_FAILED: .*ECONNREFUSED/);
    for (const one of ill?.slice(0, 2) ?? []) expect(one).toMatch(/^SYSTEM: .*CONNECTIVITY_TARGETS\./);
    for (const one of [well?.[6], ill?.[2]]) expect(one).toMatch(/^CHECK_FAILED: .*10\.99\.0\.77:80: EHOSTUNREACH/);
  });

  test('blames the machine that has no IPv6 or no port left, but a host that refuses in IPv4 for itself', async () => {
    const routes = `
      sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv4.ip_local_port_range="40000 40001"
      node -e "const net = require('node:net'); net.createServer().listen(80, '127.0.0.1', () => {
        for (let n = 0; n < 2; n += 1) net.connect(80, '127.0.0.1'); })" >/dev/null 2>&1 &
      trap "kill $!" EXIT
      until [ "$(grep -c ':9C4[01] 0100007F:0050 01' /proc/net/tcp)" = 2 ]; do sleep 0.05; done
    `;
    const hosts = ['[::1]:80', '[fd11::1]:80', '127.0.0.1:80', 'refuses.test:80', 'spent.test:80'];
    const [round] = await inNamespace({ routes }, [
      { ...alone, checks: hosts.map((host) => ({ endpoint: `tcp://${host}` })) },
    ]);
    expect(round?.results.map(outcome)).toEqual([
      expect.stringMatching(/^SYSTEM: .*EADDRNOTAVAIL.* The fault is this machine's\.$/),
      expect.stringMatching(/^SYSTEM: .*EADDRNOTAVAIL.* The fault is this machine's\.$/),
      expect.stringMatching(/^SYSTEM: .*EADDRNOTAVAIL.* The fault is this machine's\.$/),
      expect.stringMatching(/^CHECK_FAILED: .*EADDRNOTAVAIL, ECONNREFUSED\. A connection was expected\.$/),
      // One address refused, the other was never tried.
      expect.stringMatching(/^SYSTEM: .*The fault is this machine's\.$/),
    ]);
  });
});
