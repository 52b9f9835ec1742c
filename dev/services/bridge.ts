/** The network for the containers of our engine: its own bridge, and iptables rules. */
import { findCommand, requireCommand } from './packages.ts';
import { run } from './process.ts';
import { checkoutId } from './state.ts';

export interface Bridge {
  name: string;
  subnet: string;
}

const CANDIDATES = [253, 252, 251, 250, 249].map((third) => `172.31.${third}`);
const NAME = `cv${checkoutId}`; // at most 15 characters

/**
 * Keeps an existing bridge. Otherwise creates one on a subnet to which this machine has no route.
 */
export async function bringBridgeUp(known: Bridge | undefined): Promise<Bridge> {
  const ip = await requireCommand('ip');
  const { stdout: routes } = await run(ip, ['-4', 'route', 'show']);
  const { stdout: links } = await run(ip, ['-brief', 'link', 'show', 'type', 'bridge']);
  const isThere = links.split('\n').some((line) => line.startsWith(`${NAME} `));
  const prefix = known?.subnet.split('.').slice(0, 3).join('.') ?? CANDIDATES.find((free) => !routes.includes(free));
  if (!prefix) throw new Error(`None of the subnets ${CANDIDATES.join(', ')} is free for the containers' bridge.`);
  const bridge = { name: NAME, subnet: `${prefix}.0/24` };
  if (!isThere) await run(ip, ['link', 'add', 'name', NAME, 'type', 'bridge']);
  await run(ip, ['address', 'replace', `${prefix}.1/24`, 'dev', NAME]);
  await run(ip, ['link', 'set', NAME, 'up']);
  await changeRules(bridge, '-A');
  return bridge;
}

export async function removeBridge(bridge: Bridge): Promise<void> {
  await changeRules(bridge, '-D');
  const ip = await findCommand('ip');
  if (ip) await run(ip, ['link', 'delete', bridge.name]).catch(() => {});
}

/**
 * USER_BRIDGES matches BRIDGE_PREFIX in workers/workflow/engine/networks.ts. The engine takes the
 * subnets of these bridges from USER_POOL.
 */
const USER_BRIDGES = 'cvn-+';
export const USER_POOL = { base: '10.213.0.0/16', size: 24 };

/**
 * Our engine does not change iptables, so these rules stand in for its own. They separate the
 * networks of users from each other and from our bridge, and the containers within one of them from
 * each other. Containers reach this machine without the rules, so a kernel without iptables is no
 * reason to stop.
 */
async function changeRules(bridge: Bridge, action: '-A' | '-D'): Promise<void> {
  const iptables = await findCommand('iptables');
  if (!iptables) return;
  const rules = [
    ['nat', 'POSTROUTING', '-s', bridge.subnet, '!', '-o', bridge.name, '-j', 'MASQUERADE'],
    ['nat', 'POSTROUTING', '-s', USER_POOL.base, '!', '-d', USER_POOL.base, '-j', 'MASQUERADE'],
    ['filter', 'FORWARD', '-i', USER_BRIDGES, '-m', 'conntrack', '--ctstate', 'ESTABLISHED,RELATED', '-j', 'ACCEPT'],
    ['filter', 'FORWARD', '-o', USER_BRIDGES, '-m', 'conntrack', '--ctstate', 'ESTABLISHED,RELATED', '-j', 'ACCEPT'],
    ['filter', 'FORWARD', '-o', USER_BRIDGES, '-j', 'DROP'],
    ['filter', 'FORWARD', '-i', USER_BRIDGES, '-o', bridge.name, '-j', 'DROP'],
    ['filter', 'FORWARD', '-i', USER_BRIDGES, '-j', 'ACCEPT'],
    ['filter', 'FORWARD', '-i', bridge.name, '-j', 'ACCEPT'],
    ['filter', 'FORWARD', '-o', bridge.name, '-j', 'ACCEPT'],
  ];
  for (const [table = '', ...rule] of rules) {
    const isThere = await run(iptables, ['-w', '-t', table, '-C', ...rule]).then(
      () => true,
      () => false,
    );
    if (isThere !== (action === '-D')) continue;
    await run(iptables, ['-w', '-t', table, action, ...rule]).catch((error: Error) => {
      process.stderr.write(`iptables refuses a rule, so containers may not reach other hosts: ${error.message}\n`);
    });
  }
}
