import { randomUUID } from 'node:crypto';
import { MessageType, parseMessage, type SubscribePayload } from 'graphql-ws';
import { z } from 'zod';
import { jsonProblem } from '../graphql/json-size.ts';

/** The start of an operation, and the length of its message. */
export interface Sent {
  params: SubscribePayload;
  length: number;
}

/** A message for the library, and what it is. An operation has an id. */
export interface Short {
  text: string;
  type?: MessageType;
  id?: string;
  payload?: SubscribePayload;
}

/**
 * Keeps long messages away from the library, which holds the message of a subscription as text and
 * parsed while that lasts, and messages with a hash in place of a document, which it does not know.
 * It gets a short one that only points to the payload, and the payload is taken from here once.
 */
export class SocketMessages {
  /** Exists only while it holds something: most sockets send no long message. */
  #sent: Map<string, Sent> | undefined;

  /**
   * The message to give to the library. Undefined if it is too long for one that begins no
   * operation, or if only servers send such a message: the library would take it for a failure of
   * ours.
   */
  shorten(data: string): Short | undefined {
    const { length } = data;
    const message = jsonProblem(data) === undefined ? parsed(data) : undefined;
    if (!message) return { text: '{}' }; // the library refuses it
    if (OF_SERVERS.has(message.type)) return undefined;
    const { type } = message;
    if (type !== MessageType.Subscribe) {
      if (length > OTHER_LENGTH_MAX) return undefined;
      return type === MessageType.Complete ? { text: data, type, id: message.id } : { text: data, type };
    }
    const { id } = message;
    if (id.length > SHORT_LENGTH_MAX) return undefined;
    if (length <= SHORT_LENGTH_MAX && message.payload.query !== '')
      return { text: data, type, id, payload: message.payload };
    const payload = { query: randomUUID() };
    this.#sent ??= new Map();
    this.#sent.set(payload.query, { params: message.payload, length });
    return { text: JSON.stringify({ id, type, payload }), type, id, payload };
  }

  take(params: SubscribePayload): Sent {
    const sent = this.#sent?.get(params.query);
    this.#sent?.delete(params.query);
    if (this.#sent?.size === 0) this.#sent = undefined;
    return sent ?? { params, length: SHORT_LENGTH_MAX };
  }
}

const OF_SERVERS = new Set<MessageType>([MessageType.ConnectionAck, MessageType.Next, MessageType.Error]);
const SHORT_LENGTH_MAX = 1_024;
/** A message that begins no operation. A connection_init may hold more than its token. */
const OTHER_LENGTH_MAX = 8 * 1_024;

function parsed(data: string): ReturnType<typeof parseMessage> | undefined {
  try {
    return parseMessage(data.includes('"persistedQuery"') ? withDocument(JSON.parse(data)) : data);
  } catch {
    return undefined;
  }
}

/**
 * Gives a message that carries only the hash of a document an empty document: the library would
 * close the socket, and the client would not learn to send the document.
 */
function withDocument(message: unknown): unknown {
  const { success, data } = ofHash.safeParse(message);
  return success ? { ...data, payload: { ...data.payload, query: '' } } : message;
}

const ofHash = z.looseObject({
  payload: z.looseObject({ query: z.null().optional(), extensions: z.looseObject({ persistedQuery: z.unknown() }) }),
});
