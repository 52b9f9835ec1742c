import { randomUUID } from 'node:crypto';
import { MessageType, parseMessage, type SubscribePayload } from 'graphql-ws';
import { jsonProblem } from '../graphql/json-size.ts';

/** What begins an operation, and the length of the message that it came in. */
export interface Sent {
  params: SubscribePayload;
  length: number;
}

/**
 * The library holds the message that has begun a subscription for as long as that lasts, as text and parsed. So it is given one that says no more
 * than where the payload is, and the payload is taken from here once.
 */
export class SocketMessages {
  /** Only while there are some: most sockets send none. */
  #sent: Map<string, Sent> | undefined;

  /** The message for the library, or undefined where it is longer than any that begins no operation needs to be. */
  shorten(data: string): string | undefined {
    const { length } = data;
    if (length <= SHORT_LENGTH_MAX) return data;
    const message = jsonProblem(data) === undefined ? parsed(data) : undefined;
    if (!message) return '{}'; // refused there
    if (message.type !== MessageType.Subscribe) return length <= OTHER_LENGTH_MAX ? data : undefined;
    if (message.id.length > SHORT_LENGTH_MAX) return undefined;
    const query = randomUUID();
    this.#sent ??= new Map();
    this.#sent.set(query, { params: message.payload, length });
    return JSON.stringify({ id: message.id, type: message.type, payload: { query } });
  }

  take(params: SubscribePayload): Sent {
    const sent = this.#sent?.get(params.query);
    this.#sent?.delete(params.query);
    if (this.#sent?.size === 0) this.#sent = undefined;
    return sent ?? { params, length: SHORT_LENGTH_MAX };
  }
}

const SHORT_LENGTH_MAX = 1_024;
/** Of a message that begins no operation: a connection_init may say more than its token. */
const OTHER_LENGTH_MAX = 8 * 1_024;

function parsed(data: string): ReturnType<typeof parseMessage> | undefined {
  try {
    return parseMessage(data);
  } catch {
    return undefined;
  }
}
