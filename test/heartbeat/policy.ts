import { type NetworkPolicy, parseAllow } from '../../domain/network/networks.ts';

export function policy(text: string): NetworkPolicy {
  const parsed = parseAllow(text);
  if (typeof parsed === 'string') throw new Error(parsed);
  return parsed;
}
