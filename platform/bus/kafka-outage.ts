import { tlsAdvice } from '../../domain/network/tls-advice.ts';

/** Kafka gave no answer in a time of ours. The message is a sentence. */
export class KafkaSilent extends Error {}

/** Kafka does not answer as it should, and the message says what a person can do. */
export class KafkaAdvice extends Error {}

/**
 * Whether Kafka was away. Errors that no wait ends are none: a request that it refuses, a wrong
 * password, a certificate that nobody trusts.
 */
export function isKafkaOutage(error: unknown): boolean {
  const causes = causesOf(error);
  if (causes.some((cause) => cause instanceof KafkaSilent)) return true;
  const root = causes.findLast(({ name }) => name.startsWith('KafkaJS'));
  if (root === undefined || tlsAdvice(error, 'KAFKA') !== undefined) return false;
  if (root.name === 'KafkaJSSASLAuthenticationError') return false;
  const isAnswer = 'type' in root; // an error code of the protocol
  return !isAnswer || ('retriable' in root && root.retriable === true);
}

/** The line when an outage of Kafka begins. */
export function kafkaOutageBegins(error: unknown): string {
  const advice = causesOf(error).find((cause) => cause instanceof KafkaAdvice);
  const what = advice?.message ?? 'Kafka cannot be reached.';
  return `${what} What needs it waits and goes on by itself.`;
}

const CAUSES_MAX = 10;

function causesOf(error: unknown): Error[] {
  const causes: Error[] = [];
  for (let cause = error; cause instanceof Error && causes.length < CAUSES_MAX; cause = cause.cause) causes.push(cause);
  return causes;
}
