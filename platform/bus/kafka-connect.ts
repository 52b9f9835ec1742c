import { withDeadline } from '../async/deadline.ts';

interface Client {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
}

export interface Connected<C extends Client> {
  /** What `call` gives with a client that is connected. */
  use<T>(call: (client: C) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** A connect to a broker that hangs was seen to hang on after the broker went on. */
const CONNECT_MS_MAX = 15_000;

/**
 * A producer or admin of kafkajs, connected at the first use. It connects again by itself, mostly:
 * one whose first broker was frozen says "Broker not connected" for ever. So after a failure that
 * no broker answered, the next use makes a new one.
 */
export function connectLazily<C extends Client>(make: () => C): Connected<C> {
  let current: { client: C; connected: Promise<void> } | undefined;

  function connect(): { client: C; connected: Promise<void> } {
    const client = make();
    const late = `Kafka has accepted no connection within ${CONNECT_MS_MAX} ms.`;
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
          used.client.disconnect().catch(() => {}); // the error to tell is the first one
        }
        throw error;
      }
    },

    async close() {
      await current?.client.disconnect();
    },
  };
}

/** Whether a broker has answered with this error: then the connection is well. */
function isAnswer(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.name === 'KafkaJSProtocolError' || isAnswer(error.cause);
}
