import { addressesOf } from './connect.ts';
import { hostOf } from './endpoint.ts';
import type { Run } from './run.ts';

/**
 * dns://name is well when the name has an address. Nothing is connected to, so that the networks that may be reached have no say.
 */
export async function checkDns(run: Run, url: URL): Promise<void> {
  await addressesOf(run, hostOf(url));
}
