import { withDeadline } from '../async/deadline.ts';
import { KafkaSilent } from './kafka-outage.ts';

interface Client {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
}

export interface Connected<C extends Client> {
  /** Runs `call` with a connected client, and returns its result. */
  use<T>(call: (client: C) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** A connect to a hanging broker was seen to hang even after the broker had recovered. */
const CONNECT_MS_MAX = 15_000;

/**
 * A producer or admin of kafkajs that connects at the first use. kafkajs usually connects again by
 * itself. But if its first broker was frozen, it says "Broker not connected" for ever. So after a
 * failure that no broker answered, the next use makes a new client.
 */
export function connectLazily<C extends Client>(make: () => C): Connected<C> {
  let current: { client: C; connected: Promise<void> } | undefined;

  function connect(): { client: C; connected: Promise<void> } {
    const client = make();
    const late = () => new KafkaSilent(`Kafka has accepted no connection within ${CONNECT_MS_MAX} ms.`);
    return { client, connected: withDeadline(client.connect(), CONNECT_MS_MAX, late) };
  }

  return {
    async use(call) {
      current ??= connect();
      const used = current;
      try {
        await used.connected;
        return await call(used.client);
      } catch (error) {
        if (current === used && !isAnswer(error)) {
          current = undefined;
          used.client.disconnect().catch(() => {}); // the first error is the one to report
        }
        throw error;
      }
    },

    async close() {
      await current?.client.disconnect();
    },
  };
}

/** Whether a broker has answered with this error. Then the connection works. */
function isAnswer(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.name === 'KafkaJSProtocolError' || isAnswer(error.cause);
}
