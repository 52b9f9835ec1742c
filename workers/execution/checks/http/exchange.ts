import type { Socket } from 'node:net';
import { elapsed, type Run } from '../run.ts';
import type { Answer } from './answer.ts';
import type { BodyReader } from './body.ts';
import { framedBody, framingOf } from './framing.ts';
import { type Head, STATUS_LINE_LENGTH_MAX } from './head.ts';
import { askInHttp2 } from './http2.ts';
import { isHttp2 } from './protocols.ts';
import { noResponse, receiveHead } from './receive-head.ts';
import { Receiver } from './receiver.ts';
import { type Request, requestBytes } from './request.ts';
import { CLOSE_FRAME } from './websocket.ts';

export interface Response extends Head {
  /** Absent when nobody reads it. */
  body?: BodyReader;
}

/**
 * One request over `socket`, which is not used again. `readerOf` says what reads the body of a
 * response. Rejects with a CheckFailure that says what came instead of a response.
 */
export async function exchange(
  run: Run,
  socket: Socket,
  request: Request,
  readerOf: (head: Head) => BodyReader | undefined,
): Promise<Response> {
  const started = performance.now();
  const what = `${request.method} ${request.url.host}`;
  const answer = await (isHttp2(socket) ? askInHttp2 : askInHttp1)(run, socket, request, what);
  const head = { ...answer.head, statusLine: run.shortened(answer.head.statusLine, STATUS_LINE_LENGTH_MAX) };
  const first = `${head.statusLine}${answer.over}: first byte after ${elapsed(started, answer.firstAt())}`;
  const body = readerOf(head);
  if (body === undefined) {
    run.log(`${first}.`);
  } else {
    run.waitingFor = () => `the rest of the body of the response (${head.statusLine}) to ${what}; ${body.came}`;
    await body.read(answer.body);
    const manner = body.manner.length === 0 ? '' : ` (${body.manner.join(', ')})`;
    const cut = body.cut === undefined ? '' : `, then ${body.cut}`;
    run.log(`${first}, ${body.size} after ${elapsed(started)}${manner}${cut}.`);
  }
  answer.close();
  return body === undefined ? head : { ...head, body };
}

async function askInHttp1(run: Run, socket: Socket, request: Request, what: string): Promise<Answer> {
  const receiver = new Receiver(socket);
  socket.write(requestBytes(request));
  const head = await receiveHead(run, receiver, what);
  const framing = framingOf(head, request.method);
  if (typeof framing === 'string') throw noResponse(what, framing);
  return {
    head,
    over: '',
    firstAt: () => receiver.firstAt,
    body: framedBody(receiver, framing),
    close: () => {
      if (head.status === 101 && 'sec-websocket-key' in request.headers) socket.write(CLOSE_FRAME);
      socket.destroy();
    },
  };
}
