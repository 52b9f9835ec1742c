import { describe, expect, test } from 'vitest';
import { isKafkaOutage, KafkaAdvice, KafkaSilent, kafkaOutageBegins } from '../../platform/bus/kafka-outage.ts';

/** An error as the client makes it. */
function clientError(name: string, fields: object = {}): Error {
  return Object.assign(new Error(`${name} says`), { name, ...fields });
}

describe('an outage of Kafka', () => {
  test.each([
    ['a connection that is refused', clientError('KafkaJSConnectionError', { code: 'ECONNREFUSED' })],
    ['no answer in our own time', new KafkaSilent('late')],
    ['a leader that moves', clientError('KafkaJSProtocolError', { type: 'NOT_LEADER_FOR_PARTITION', retriable: true })],
    [
      'retries that are over',
      clientError('KafkaJSNumberOfRetriesExceeded', { retriable: false, cause: clientError('KafkaJSConnectionError') }),
    ],
  ])('is %s', (_, error) => {
    expect(isKafkaOutage(error)).toBe(true);
    expect(isKafkaOutage(new Error('wrapped', { cause: error }))).toBe(true);
  });

  test.each([
    [
      'a right that is missing',
      clientError('KafkaJSProtocolError', { type: 'TOPIC_AUTHORIZATION_FAILED', retriable: false }),
    ],
    ['a wrong password', clientError('KafkaJSSASLAuthenticationError')],
    ['a certificate that is not trusted', clientError('KafkaJSConnectionError', { code: 'SELF_SIGNED_CERT_IN_CHAIN' })],
    ['a fault of another part', new Error('connect ECONNREFUSED 127.0.0.1:5432')],
  ])('is not %s, which no wait ends', (_, error) => {
    expect(isKafkaOutage(error)).toBe(false);
  });

  test('begins with the advice, if there is one', () => {
    const advice = new KafkaAdvice('Kafka at h:1 does not answer as it should. Set KAFKA_TLS.');
    expect(kafkaOutageBegins(advice)).toBe(`${advice.message} What needs it waits and goes on by itself.`);
    expect(kafkaOutageBegins(new KafkaSilent('late'))).toMatch(/^Kafka cannot be reached\. /);
  });
});
