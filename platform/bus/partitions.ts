import { crc32 } from 'node:zlib';

/**
 * The number of partitions of a new Kafka topic and of the in-process one. Up to 12 workers of a
 * kind can share them.
 */
export const PARTITIONS = 12;

/**
 * The partition of `key` among `count`. Every process computes the same one, whatever client it
 * uses.
 */
export function partitionFor(key: string, count: number): number {
  return crc32(key) % count;
}
