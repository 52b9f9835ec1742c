import { connect, type Socket } from 'node:net';

/** What a process answers under load. */
export interface Load {
  requestsPerSecond: number;
  requests: number;
}

/**
 * Sends one operation over `connections` connections for `seconds`, each time as soon as the answer
 * has come. It speaks HTTP by itself, because a client of Node takes as much CPU as the server. It
 * rejects on an answer other than 200, and on one with errors.
 */
export async function load(
  url: string,
  { query, token, connections, seconds }: { query: string; token?: string; connections: number; seconds: number },
): Promise<Load> {
  const request = requestOf(new URL(url), query, token);
  const start = performance.now();
  const until = start + seconds * 1_000;
  const counts = await Promise.all(Array.from({ length: connections }, () => askUntil(url, request, until)));
  const requests = counts.reduce((sum, count) => sum + count, 0);
  return { requests, requestsPerSecond: requests / ((performance.now() - start) / 1_000) };
}

function requestOf({ host, pathname }: URL, query: string, token: string | undefined): Buffer {
  const body = JSON.stringify({ query });
  const head = [
    `POST ${pathname} HTTP/1.1`,
    `host: ${host}`,
    'content-type: application/json',
    'accept: application/json',
    ...(token === undefined ? [] : [`authorization: Bearer ${token}`]),
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
}

/** Resolves with the number of answers of one connection. */
function askUntil(url: string, request: Buffer, until: number): Promise<number> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const answers = answersOf(socket, (body) => {
      if (body.includes('"errors"')) return void socket.destroy(new Error(`An answer has errors: ${body}`));
      if (performance.now() < until) socket.write(request);
      else socket.end();
    });
    socket.once('connect', () => socket.write(request));
    socket.once('error', reject);
    socket.once('close', () => resolve(answers.count));
  });
}

/** Calls `received` with the body of each answer, of which one comes at a time. */
function answersOf(socket: Socket, received: (body: string) => void): { count: number } {
  const seen = { count: 0 };
  let text = '';
  socket.setEncoding('latin1'); // a character for each byte
  socket.on('data', (part: string) => {
    text += part;
    const end = text.indexOf('\r\n\r\n');
    if (end === -1) return;
    const head = text.slice(0, end).toLowerCase();
    const length = Number(/\r\ncontent-length: (\d+)/.exec(head)?.[1]);
    if (!head.startsWith('http/1.1 200') || Number.isNaN(length))
      return void socket.destroy(new Error(`The answer is none of the expected kind: ${text.slice(0, 500)}`));
    if (text.length < end + 4 + length) return;
    const body = text.slice(end + 4);
    text = '';
    seen.count += 1;
    received(body);
  });
  return seen;
}
