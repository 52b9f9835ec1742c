import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { CheckFailure, type Run } from '../run.ts';
import type { Answer } from './answer.ts';
import { Closed } from './fault.ts';
import { framingOf } from './framing.ts';
import type { Head } from './head.ts';
import { Frames, RECEIVED_BYTES_MAX } from './http2-frames.ts';
import { headBytes, http2Head, http2Headers } from './http2-headers.ts';
import { Http2Transport } from './http2-transport.ts';
import { HTTP_1_1_REQUIRED, HTTP2_HEADERS_MAX, http2Fault, tooLong } from './http2-words.ts';
import { HEADERS_BYTES_MAX, INFORMATIONAL_MAX, noResponse } from './receive-head.ts';
import type { Request } from './request.ts';

/** What a server may make node:http2 keep: the unit is 10^6 bytes. */
const MEMORY_MB_MAX = 1;
/** How much of a body is kept before it is read. */
const UNREAD_BYTES_MAX = 64 * 1024;
/**
 * As much as is ever read, so that no window is sent while a body comes. A server that has closed
 * the connection behind a body would answer that with a reset, and the rest of the body be lost.
 */
const WINDOW_BYTES = RECEIVED_BYTES_MAX;

/** The server wants this request in HTTP/1.1, over another connection. */
export class Http1Wanted extends CheckFailure {}

/**
 * One request in HTTP/2 over `socket`. Rejects with a CheckFailure that says what came instead of a
 * response. `socket` is not used again.
 */
export async function askInHttp2(run: Run, socket: Socket, request: Request, what: string): Promise<Answer> {
  const conversation = new Conversation(run, socket, request);
  run.waitingFor = () => conversation.waitsFor(what);
  const head = await conversation.head(what).catch((error) => {
    conversation.close();
    throw error;
  });
  return {
    head,
    over: ' over HTTP/2',
    firstAt: () => conversation.frames.headersAt,
    body: conversation.body(head, request.method),
    close: () => conversation.close(),
  };
}

class Conversation {
  readonly frames = new Frames();
  private readonly run: Run;
  private readonly transport: Http2Transport;
  private readonly session: ClientHttp2Session;
  private readonly stream: ClientHttp2Stream;
  private informational = 0;
  private received: Head | undefined;
  /** Whether nothing more comes, and why. */
  private isOver = false;
  private error: unknown;
  private wake = (): void => undefined;

  constructor(run: Run, socket: Socket, request: Request) {
    const headers = http2Headers(request);
    this.run = run;
    this.transport = new Http2Transport(socket, this.frames, {
      isFull: () => this.stream.readableLength >= UNREAD_BYTES_MAX,
      onEnd: (error) => this.end(error),
    });
    const options = {
      createConnection: () => this.transport,
      settings: { enablePush: false, maxHeaderListSize: HEADERS_BYTES_MAX, initialWindowSize: WINDOW_BYTES },
      maxSessionMemory: MEMORY_MB_MAX,
      maxHeaderListPairs: HTTP2_HEADERS_MAX,
      strictFieldWhitespaceValidation: false, // Node 20 does not know it, and drops such headers
    };
    this.session = http2.connect(request.url.origin, options);
    this.session.on('error', (error) => this.end(error));
    run.atEnd(() => this.close());
    this.session.setLocalWindowSize(WINDOW_BYTES);
    this.stream = this.session.request(headers, { endStream: request.body === undefined });
    this.stream.on('error', (error) => this.end(error));
    this.stream.on('close', () => this.end(new Closed()));
    this.stream.on('headers', () => {
      this.informational += 1;
      this.wake();
    });
    this.stream.on('response', (received) => {
      this.received = http2Head(received);
      this.wake();
    });
    this.stream.on('readable', () => this.wake());
    this.stream.on('end', () => this.wake());
    if (request.body !== undefined) this.stream.end(request.body);
  }

  async head(what: string): Promise<Head> {
    for (;;) {
      const { received } = this;
      if (this.informational > INFORMATIONAL_MAX)
        throw noResponse(what, `more than ${INFORMATIONAL_MAX} informational ones`);
      if (received !== undefined && headBytes(received) > HEADERS_BYTES_MAX) throw noResponse(what, tooLong());
      if (received !== undefined) return received;
      if (this.isOver) throw this.noResponse(what);
      await this.next();
    }
  }

  async *body(head: Head, method: string): AsyncGenerator<Buffer> {
    const framing = framingOf(head, method);
    if (typeof framing === 'string' || framing.by === 'nothing') return;
    let left = framing.by === 'length' ? framing.bytes : 0;
    for (;;) {
      const piece: Buffer | null = this.stream.read();
      if (piece !== null) {
        left -= piece.length;
        yield piece;
        this.transport.readOn();
        continue;
      }
      if (this.stream.readableEnded) return;
      if (this.isOver && this.isWithoutError && left <= 0) return;
      if (this.isOver) throw new Error(http2Fault(this.run, this.frames, this.error));
      await this.next();
    }
  }

  /** What a time-out says. */
  waitsFor(what: string): string {
    const { headersBytes } = this.frames;
    if (headersBytes > 0) return `the rest of the headers of the response to ${what}; ${headersBytes} bytes had come`;
    const isSent = this.stream.writableFinished;
    return `the first byte of the response to ${what}${isSent ? '' : ', whose body the server has not taken whole'}`;
  }

  close(): void {
    this.session.destroy();
    this.transport.destroy();
  }

  /** A reset without an error after the head ends a body, as in browsers. */
  private get isWithoutError(): boolean {
    const { end } = this.frames;
    return end?.by === 'RESET' && end.code === 0;
  }

  private noResponse(what: string): CheckFailure {
    const { end } = this.frames;
    const { message } = noResponse(what, http2Fault(this.run, this.frames, this.error));
    const isHttp1Wanted = (end?.by === 'RESET' || end?.by === 'GOAWAY') && end.code === HTTP_1_1_REQUIRED;
    return isHttp1Wanted ? new Http1Wanted(message) : new CheckFailure(message);
  }

  /** A whole response has no fault: node:http2 says when it has read it. */
  private end(error?: unknown): void {
    if (error === undefined && this.frames.end?.by === 'WHOLE') return;
    if (!this.isOver) this.error = error;
    this.isOver = true;
    this.wake();
  }

  private next(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }
}
