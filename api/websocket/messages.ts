import { randomUUID } from 'node:crypto';
import { MessageType, parseMessage, type SubscribePayload } from 'graphql-ws';
import { jsonProblem } from '../graphql/json-size.ts';

/** The start of an operation, and the length of its message. */
export interface Sent {
  params: SubscribePayload;
  length: number;
}

/**
 * Keeps long messages away from the library, which holds the message of a subscription as text and
 * parsed while that lasts. It gets a short one that only points to the payload, and the payload is
 * taken from here once.
 */
export class SocketMessages {
  /** Exists only while it holds something: most sockets send no long message. */
  #sent: Map<string, Sent> | undefined;

  /**
   * The message to give to the library. Undefined if it is too long for one that begins no
   * operation.
   */
  shorten(data: string): string | undefined {
    const { length } = data;
    if (length <= SHORT_LENGTH_MAX) return data;
    const message = jsonProblem(data) === undefined ? parsed(data) : undefined;
    if (!message) return '{}'; // the library refuses it
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
/** A message that begins no operation. A connection_init may hold more than its token. */
const OTHER_LENGTH_MAX = 8 * 1_024;

function parsed(data: string): ReturnType<typeof parseMessage> | undefined {
  try {
    return parseMessage(data);
  } catch {
    return undefined;
  }
}
