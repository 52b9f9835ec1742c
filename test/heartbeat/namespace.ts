import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import type { Round, RoundResult } from './namespace-checks.ts';

const run = promisify(execFile);

/** Undefined where this machine gives network namespaces, otherwise why a test is skipped. */
export const missing =
  spawnSync('unshare', ['-n', 'sh', '-c', 'ip link set lo up && ip link add x0 type veth peer name x1']).status === 0
    ? undefined
    : 'no network namespaces';

/**
 * A machine of its own, 10.99.0.1, with one link and a default gateway, 10.99.0.254. `router` is a
 * script that makes the other end of the link; without one, nobody is there. `routes` is a script
 * for the machine itself.
 */
export async function inNamespace(machine: Machine, rounds: Round[]): Promise<RoundResult[]> {
  return JSON.parse(await runOn(machine, 'test/heartbeat/namespace-checks.ts', JSON.stringify(rounds)));
}

export interface Machine {
  router?: string;
  routes?: string;
}

/** What this program prints on such a machine, with one argument. */
export async function runOn({ router, routes = '' }: Machine, program: string, argument: string): Promise<string> {
  const script = `
    set -e
    ip link set lo up
    ip link add eth0 type veth peer name r0
    ${router === undefined ? 'ip link set r0 up' : startRouter(router)}
    ip addr add 10.99.0.1/24 dev eth0
    ip -6 addr add fd99::1/64 dev eth0 nodad
    ip link set eth0 up
    ip route add default via 10.99.0.254
    ip -6 route add default via fd99::fe
    ${routes}
    node --import tsx ${program} "$1"
  `;
  const args = ['-n', '--', 'bash', '-c', script, 'checks', argument];
  return (await run('unshare', args, { maxBuffer: 10_000_000 })).stdout;
}

/**
 * The router is a second namespace, which lives as long as a process in it: a server that accepts
 * connections at port 80 of each of its addresses.
 */
function startRouter(script: string): string {
  return `
    unshare -n -- node -e "require('node:net').createServer().listen(80)" >/dev/null 2>&1 &
    trap "kill $!" EXIT
    until grep -q :0050 /proc/$!/net/tcp6; do sleep 0.05; done
    ip link set r0 netns $!
    nsenter -t $! -n -- bash -e -c '
      ip link set lo up
      ip addr add 10.99.0.254/24 dev r0
      ip link set r0 up
      echo 1 >/proc/sys/net/ipv4/ip_forward
      ${script}
    '
  `;
}
