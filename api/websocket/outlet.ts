import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Frame, Sink } from '../live/frame.ts';

/**
 * Writes the frames of all subscriptions of one WebSocket to its connection. The library would copy
 * each through a text of its own; here the bytes that all subscribers share are copied once, behind
 * the head of a message. Messages are neither masked nor compressed, so they may come between those
 * of the library.
 */
export class Outlet {
  readonly #socket: WebSocket;
  readonly #raw: Socket;
  #waiting: (() => void)[] = [];

  constructor(socket: WebSocket, raw: Socket) {
    this.#socket = socket;
    this.#raw = raw;
    const free = () => {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const run of waiting) run();
    };
    raw.on('drain', free);
    socket.once('close', free);
  }

  /** The way of the results of the operation with this id. */
  sinkOf(id: string): Sink {
    return new SocketSink(this, Buffer.from(`{"id":${JSON.stringify(id)},"type":"next","payload":`));
  }

  get isFull(): boolean {
    return this.#raw.writableNeedDrain && this.#isOpen;
  }

  onceDrained(run: () => void): void {
    if (this.isFull) this.#waiting.push(run);
    else run();
  }

  /** Sends a text message of these parts. What is left when the socket closes is dropped. */
  write(head: Buffer, json: Buffer, tail: number): void {
    if (!this.#isOpen) return;
    const length = head.length + json.length + 1;
    const start = length < 126 ? 2 : length < 65_536 ? 4 : 10;
    const message = Buffer.allocUnsafe(start + length);
    message[0] = TEXT;
    if (start === 2) message[1] = length;
    else if (start === 4) {
      message[1] = 126;
      message.writeUInt16BE(length, 2);
    } else {
      message[1] = 127;
      message.writeBigUInt64BE(BigInt(length), 2);
    }
    head.copy(message, start);
    json.copy(message, start + head.length);
    message[start + length - 1] = tail;
    this.#raw.write(message);
  }

  get #isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }
}

/** The first byte of a whole text message (RFC 6455, 5.2). */
const TEXT = 0x81;
const BRACE = 0x7d;

class SocketSink implements Sink {
  readonly #outlet: Outlet;
  readonly #head: Buffer;

  constructor(outlet: Outlet, head: Buffer) {
    this.#outlet = outlet;
    this.#head = head;
  }

  get isFull(): boolean {
    return this.#outlet.isFull;
  }

  send({ json }: Frame): void {
    this.#outlet.write(this.#head, json, BRACE);
  }

  onceDrained(run: () => void): void {
    this.#outlet.onceDrained(run);
  }
}
