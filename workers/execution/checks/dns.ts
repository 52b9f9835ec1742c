import net from 'node:net';
import { addressesOf } from './connect.ts';
import { hostOf } from './endpoint.ts';
import type { Run } from './run.ts';

/**
 * dns://name succeeds when the name has an address. It opens no connection, so the network policy
 * does not apply.
 */
export async function checkDns(run: Run, url: URL): Promise<void> {
  const host = hostOf(url);
  await addressesOf(run, host);
  if (net.isIP(host) !== 0) run.log(`${host} is an address already: there is nothing to resolve.`);
}
