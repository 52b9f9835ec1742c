import { type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { endSoon } from '../admission/connections.ts';
import { sendJson } from './messages.ts';

/**
 * Answers on a connection that Node's HTTP server has let go of, and closes it: as soon as the
 * client has read the answer and ends, and after REFUSED_MS_MAX in any case.
 */
export function answerRaw(socket: Duplex, status: number, message: string): void {
  const body = JSON.stringify({ message });
  const headers = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  endSoon(socket);
  socket.end(`${headers.join('\r\n')}\r\n\r\n${body}`);
  socket.once('end', () => socket.destroy());
  // Closing with unread bytes would reset the connection, and the client might lose the answer.
  socket.resume();
}

/**
 * Answers what is not HTTP, or not all of it, with a sentence: Node sends a bare status.
 * `isAnswered` says whether a part of an answer has been sent on the connection.
 */
export function answerMalformed(server: Server, isAnswered: (socket: Socket) => boolean): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (!socket.writable || isAnswered(socket)) return void socket.destroy(error);
    const { status, message } = PROBLEMS.get(error.code ?? '') ?? MALFORMED;
    answerRaw(socket, status, message);
  });
  server.on('checkExpectation', (_, response) => {
    response.setHeader('connection', 'close');
    sendJson(response, 417, { message: 'The only expectation that is met is 100-continue.' });
  });
}

const MALFORMED = { status: 400, message: 'This is not an HTTP request that this server can read.' };
const PROBLEMS = new Map([
  ['HPE_HEADER_OVERFLOW', { status: 431, message: 'The headers of a request may have 16 KiB: send values by POST.' }],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', { status: 413, message: 'The chunks of a body have too long extensions.' }],
  ['ERR_HTTP_REQUEST_TIMEOUT', { status: 408, message: 'The request did not arrive whole in time.' }],
]);
