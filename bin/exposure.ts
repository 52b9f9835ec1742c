import { isAllowed } from '../domain/network/networks.ts';
import type { Settings } from '../platform/settings/parse.ts';

/** Whether other machines reach the api, directly or through a proxy that PUBLIC_URL names. */
export function isExposed({ host, publicUrl }: Pick<Settings, 'host' | 'publicUrl'>): boolean {
  return !isLoopback(host) || publicUrl !== undefined;
}

/** Whether a HOST, or the host of a URL, names only this machine. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '');
  return bare === 'localhost' || isAllowed({ words: new Set(['loopback']), networks: [] }, bare);
}
