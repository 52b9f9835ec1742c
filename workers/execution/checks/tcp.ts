import type { Socket } from 'node:net';
import type { HeartbeatPayload } from '../../../domain/payload/payload.ts';
import { connect } from './connect.ts';
import { hostOf } from './endpoint.ts';
import { KEPT_MAX, quoted } from './quote.ts';
import { CheckFailure, type Run } from './run.ts';

const ANSWER_BYTES_MAX = 64 * 1024;

/**
 * tcp://host:port succeeds when it accepts a connection, takes the text to send, and sends the
 * expected text within its first ANSWER_BYTES_MAX.
 */
export async function checkTcp(
  run: Run,
  { tcp_send: sent, tcp_expect: expected }: Pick<HeartbeatPayload<never>, 'tcp_send' | 'tcp_expect'>,
  url: URL,
): Promise<void> {
  if (url.port === '') throw new CheckFailure(`${url.href} names no port. tcp://host:port was expected.`);
  const { socket, peer } = await connect(run, hostOf(url), Number(url.port));
  if (sent !== undefined) {
    await write(run, socket, peer, sent);
    run.log(`Sent ${Buffer.byteLength(sent)} bytes.`);
  }
  if (expected !== undefined) await readUntil(run, socket, peer, expected);
}

function write(run: Run, socket: Socket, peer: string, text: string): Promise<void> {
  run.waitingFor = `${peer} to take ${Buffer.byteLength(text)} bytes`;
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new CheckFailure(`${peer} did not take the text to send: ${why}.`));
    socket.once('close', () => fail('the connection was closed'));
    socket.write(text, (error) => (error ? fail(codeOf(error)) : resolve()));
  });
}

/** Reads bytes, not characters: the text may begin within an encoding that is none. */
function readUntil(run: Run, socket: Socket, peer: string, expected: string): Promise<void> {
  const wanted = Buffer.from(expected);
  let bytes = 0;
  let beginning = Buffer.alloc(0);
  let tail = Buffer.alloc(0); // may be the beginning of what is wanted
  const came = () =>
    bytes === 0 ? 'nothing' : `${bytes} bytes that begin ${quoted(run.context.mask, beginning.toString('utf8'))}`;
  run.waitingFor = () => `${quoted(undefined, expected)} from ${peer}, which has sent ${came()}`;
  return new Promise((resolve, reject) => {
    const fail = (how: string) =>
      reject(new CheckFailure(`${peer} sent ${came()}${how}. ${quoted(undefined, expected)} was expected.`));
    socket.on('data', (chunk) => {
      const read = chunk.subarray(0, ANSWER_BYTES_MAX - bytes);
      bytes += read.length;
      if (beginning.length < KEPT_MAX)
        beginning = Buffer.concat([beginning, read.subarray(0, KEPT_MAX - beginning.length)]);
      const searched = Buffer.concat([tail, read]);
      tail = searched.subarray(Math.max(0, searched.length - wanted.length + 1));
      if (searched.includes(wanted)) {
        run.log(`${peer} sent ${came()}.`);
        socket.destroy();
        resolve();
      } else if (bytes >= ANSWER_BYTES_MAX) fail(', and more than are read');
    });
    socket.once('error', (error) => fail(`, then the connection failed (${codeOf(error)})`));
    socket.once('end', () => fail(' and closed the connection'));
    socket.once('close', () => fail(' and closed the connection'));
  });
}

function codeOf(error: NodeJS.ErrnoException): string {
  return error.code ?? error.message;
}
