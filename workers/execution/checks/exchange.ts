import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { BodyReader } from './body.ts';
import { CheckFailure, elapsed, type Run } from './run.ts';

export interface Request {
  url: URL;
  method: string;
  headers: Record<string, string>;
  body: string | undefined;
}

export interface Response {
  status: number;
  /** For example "503 Service Unavailable". */
  statusLine: string;
  location: string | undefined;
  body: BodyReader;
}

const HEADER_BYTES_MAX = 16 * 1024;
const INFORMATIONAL_MAX = 16; // 1xx responses before the final one

/**
 * One request over `socket`, which is not used again. Reads the body to its end, to BODY_BYTES_MAX,
 * or until `wanted` is found. Rejects with a CheckFailure that says what came instead of a
 * response.
 */
export async function exchange(
  run: Run,
  socket: Socket,
  request: Request,
  wanted: string | undefined,
): Promise<Response> {
  const started = performance.now();
  const what = `${request.method} ${request.url.host}`;
  run.waitingFor = `the first byte of the response to ${what}`;
  const message = await responseTo(send(socket, request), what);
  const firstByte = elapsed(started);
  const body = new BodyReader(wanted, run.context.mask);
  const statusLine = run.masked(`${message.statusCode} ${message.statusMessage}`.trim());
  if (message.statusCode !== 101) {
    run.waitingFor = `the rest of the body of the response (${statusLine}) to ${what}`;
    await body.read(message);
  }
  run.log(`${statusLine}: first byte after ${firstByte}, ${body.described} after ${elapsed(started)}.`);
  socket.destroy();
  return { status: message.statusCode ?? 0, statusLine, location: message.headers.location, body };
}

function send(socket: Socket, { url, method, headers, body }: Request): ClientRequest {
  try {
    const request = http.request({
      createConnection: () => socket, // connected, and secured where it must be; without an agent, so used once
      method,
      path: `${url.pathname}${url.search}`,
      headers,
      maxHeaderSize: HEADER_BYTES_MAX,
    });
    return request.end(body);
  } catch (error) {
    throw new CheckFailure(`The request could not be made: ${error instanceof Error ? error.message : error}.`);
  }
}

function responseTo(request: ClientRequest, what: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    let informational = 0;
    request.on('response', resolve);
    request.on('upgrade', resolve); // 101: the bytes after it are no longer HTTP
    request.on('information', () => {
      informational += 1;
      if (informational > INFORMATIONAL_MAX)
        request.destroy(new Error(`more than ${INFORMATIONAL_MAX} informational ones`));
    });
    request.on('error', (error: NodeJS.ErrnoException) => {
      const said = error.message.includes(error.code ?? '') ? error.message : `${error.message} (${error.code})`;
      reject(new CheckFailure(`No response to ${what}: ${said}. A response was expected.`));
    });
    request.on('close', () => reject(new CheckFailure(`No response to ${what}: the connection was closed.`)));
  });
}
