import type { HeartbeatPayload } from '../../../domain/payload/payload.ts';
import type { Connection } from './connect.ts';
import { endOfHead, type Head, mayBeHead, parseHead } from './http/head.ts';
import { beginningOf } from './http/header-text.ts';
import { quoted } from './quote.ts';
import { CheckFailure, type Run } from './run.ts';

const HEAD_BYTES_MAX = 32 * 1024;

/**
 * Asks the proxy at the other end of a connection to connect to `target`. Returns its final answer;
 * the socket goes on behind that. Rejects with a CheckFailure if the proxy gives none.
 */
export function askForTunnel(
  run: Run,
  { socket, peer }: Connection,
  target: string,
  auth: HeartbeatPayload<never>['proxy_auth'],
): Promise<Head> {
  const login = auth && Buffer.from(`${auth.username}:${auth.password}`).toString('base64');
  const lines = [`CONNECT ${target} HTTP/1.1`, `Host: ${target}`];
  if (login !== undefined) lines.push(`Proxy-Authorization: Basic ${login}`);
  let came: Buffer = Buffer.alloc(0);

  return new Promise<Head>((resolve, reject) => {
    const fail = (what: string) => {
      const beginning = came.length === 0 ? '' : `, beginning ${quoted(run.context.mask, beginningOf(came))}`;
      reject(
        new CheckFailure(`No answer of the proxy ${peer} to CONNECT ${target}: ${what}${beginning}. 2xx was expected.`),
      );
    };
    const read = (piece: Buffer) => {
      came = Buffer.concat([came, piece]);
      for (;;) {
        const end = endOfHead(came.toString('latin1'));
        if ((end ?? came.length) > HEAD_BYTES_MAX) return fail(`headers of more than ${HEAD_BYTES_MAX} bytes`);
        if (end === undefined) break;
        const head = parseHead(came.subarray(0, end));
        if (head === undefined) return fail('an answer that is not HTTP');
        came = came.subarray(end);
        if (head.status < 200) continue; // informational: another one follows
        socket.removeAllListeners('data').pause();
        if (came.length > 0) socket.unshift(came);
        return resolve(head);
      }
      if (!mayBeHead(came)) fail('an answer that is not HTTP');
    };
    socket.on('data', read);
    socket.once('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
    socket.once('close', () => fail('the connection was closed'));
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  }).catch((failure) => {
    socket.destroy();
    throw failure;
  });
}
