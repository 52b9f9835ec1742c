import { crc32 } from 'node:zlib';

/**
 * Partitions of a new topic, and of the in-process one: what up to 12 workers of a kind can share.
 */
export const PARTITIONS = 12;

/** The partition of `key` among `count`: the same in every process, whatever client it uses. */
export function partitionFor(key: string, count: number): number {
  return crc32(key) % count;
}
