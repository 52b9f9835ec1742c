import { closeSync, openSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import type { HeartbeatPayload } from '../../domain/payload/payload.ts';
import { runCheck } from '../../workers/execution/check.ts';
import { createNames } from '../../workers/shared/dns/names.ts';
import { policy } from './policy.ts';

/**
 * Runs in a process with a low limit of file descriptors (without-files.test.ts). Uses all of them
 * up, runs checks, and prints their results as JSON. `known` has read its hosts file before,
 * `fresh` has not.
 */
async function main(hostsFile: string): Promise<void> {
  const server = net.createServer((socket) => socket.on('error', () => undefined));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const known = createNames({ servers: ['127.0.0.1:9'], hostsFile, resolvFile: '/nonexistent' });
  await known.resolve('here.test', () => undefined);
  await new Promise((resolve) => setTimeout(resolve, FILES_FRESH_MS));
  writeFileSync(hostsFile, '127.0.0.1 here.test\n127.0.0.1 more.test\n');

  const open: number[] = [];
  try {
    for (;;) open.push(openSync('/dev/null', 'r'));
  } catch {
    // none is left
  }
  const fresh = createNames({ servers: ['127.0.0.1:9'], hostsFile, resolvFile: '/nonexistent' });
  const address = `127.0.0.1:${port}`;
  const check = (names: typeof known, payload: Omit<HeartbeatPayload<never>, 'kind'>) =>
    runCheck({ kind: 'HEARTBEAT', ...payload }, { ...context, names });
  const results = [
    await check(fresh, { endpoint: `tcp://${address}` }),
    await check(fresh, { endpoint: `http://${address}/` }),
    await check(fresh, { endpoint: `tcp://here.test:${port}` }),
    await check(known, { endpoint: 'dns://gone.test' }),
    await check(fresh, { endpoint: 'dns://gone.test', dns_server: '127.0.0.1:9' }),
    await check(known, { endpoint: 'dns://here.test' }),
  ];
  for (const one of open) closeSync(one);
  process.stdout.write(JSON.stringify(results), () => process.exit());
}

/** Longer than a reading of the hosts file counts as fresh. */
const FILES_FRESH_MS = 5_100;

const up = async () => true;
const context = {
  allow: policy('loopback'),
  platform: { database: up, bus: up, cache: up },
  signal: new AbortController().signal,
};

await main(process.argv[2] ?? '');
