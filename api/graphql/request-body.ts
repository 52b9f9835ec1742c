import type { IncomingMessage } from 'node:http';
import type { GraphQLError } from 'graphql';
import { REQUEST_BYTES_MAX } from '../../domain/limits.ts';
import { abandoned } from '../admission/request-work.ts';
import { failure } from '../errors.ts';

/**
 * Reads the body of a request. The engine's own way takes several streams, which a subscription
 * would hold for as long as it lasts. Throws BAD_REQUEST for one that is too large, and what says
 * that the client has left.
 */
export function bodyOf(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let length = 0;
    const settle = (run: () => void) => {
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      run();
    };
    const onData = (part: Buffer) => {
      length += part.length;
      parts.push(part);
      if (length > REQUEST_BYTES_MAX) settle(refuse);
    };
    const onEnd = () => settle(() => resolve(parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)));
    const onGone = () => settle(() => reject(abandoned()));
    const refuse = () => {
      request.pause(); // the rest is not read
      reject(tooLarge());
    };
    if (request.destroyed && !request.readableEnded) return onGone();
    if (Number(request.headers['content-length']) > REQUEST_BYTES_MAX) return refuse();
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  });
}

function tooLarge(): GraphQLError {
  const message = `A body may have ${REQUEST_BYTES_MAX.toLocaleString('en')} bytes, and this one has more.`;
  return failure('BAD_REQUEST', message, { http: { status: 413, headers: { connection: 'close' } } });
}
