import { randomBytes } from 'node:crypto';
import { Kafka, logLevel } from 'kafkajs';
import { pino } from 'pino';
import type { Bus } from '../../platform/bus/bus.ts';
import { createKafkaBus } from '../../platform/bus/kafka.ts';
import { createMemoryBus } from '../../platform/bus/memory.ts';
import { requirePart } from '../support/parts.ts';

export const log = pino({ level: process.env.LOG_LEVEL ?? 'silent' });
export const brokers = requirePart('kafka', 'the bus on a real broker')?.split(',');

const DEADLINE_MS = 20_000;

export function memoryBus(): Promise<Bus> {
  return Promise.resolve(createMemoryBus({ log }));
}

/** Another client of the same topics uses the same prefix. */
export function kafkaBus(topicPrefix = randomPrefix()): Promise<Bus> {
  return createKafkaBus({ brokers: brokers ?? [], topicPrefix, log, clientId: 'chronoverse-test' });
}

const prefixes = new Set<string>();

export function randomPrefix(): string {
  const prefix = `test-${randomBytes(6).toString('hex')}-`;
  prefixes.add(prefix);
  return prefix;
}

/**
 * Deletes the topics of the tests of this file. Otherwise each run would leave hundreds of
 * partitions on the broker.
 */
export async function dropTopics(): Promise<void> {
  if (brokers === undefined) return;
  const admin = new Kafka({ brokers, clientId: 'chronoverse-test', logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  const topics = (await admin.listTopics()).filter((topic) => [...prefixes].some((prefix) => topic.startsWith(prefix)));
  if (topics.length > 0) await admin.deleteTopics({ topics });
  await admin.disconnect();
}

export function messages(...texts: string[]): { value: Buffer }[] {
  return texts.map((text) => ({ value: Buffer.from(text) }));
}

/** Collects what arrives, and lets a test wait for it. */
export function gather() {
  const arrived: string[] = [];
  const waiting = new Set<() => void>();
  return {
    arrived,
    add(...values: (Buffer | string)[]): void {
      arrived.push(...values.map((value) => value.toString()));
      for (const look of waiting) look();
    },
    /** Resolves when `done` is true of what has arrived, and rejects after the deadline. */
    until(done: (arrived: string[]) => boolean): Promise<void> {
      return new Promise((resolve, reject) => {
        const look = () => {
          if (!done(arrived)) return;
          clearTimeout(timer);
          waiting.delete(look);
          resolve();
        };
        const timer = setTimeout(() => {
          waiting.delete(look);
          reject(new Error(`Not within ${DEADLINE_MS} ms; what has arrived: ${arrived.slice(-20).join(', ')}.`));
        }, DEADLINE_MS);
        waiting.add(look);
        look();
      });
    },
  };
}

/** Keys for `count` different partitions. */
export async function keysOfDifferentPartitions(
  { partitionOf }: Pick<Bus, 'partitionOf'>,
  count: number,
): Promise<string[]> {
  const keys = new Map<number, string>();
  for (let n = 0; keys.size < count; n += 1) keys.set(await partitionOf('workflows', `key ${n}`), `key ${n}`);
  return [...keys.values()];
}
