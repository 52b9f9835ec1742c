import { type IncomingHttpHeaders, request } from 'node:http';
import type { Readable } from 'node:stream';
import { constants, createGunzip } from 'node:zlib';

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  /** The received text so far, unpacked. */
  received(): string;
  /** The received bytes so far. */
  bytes(): Buffer;
  /** Resolves when the received text ends with `text`. */
  endsWith(text: string): Promise<void>;
  /** The whole text. Rejects if the connection is cut before the answer ends. */
  whole(): Promise<string>;
  /** Closes the connection. */
  leave(): void;
  /** The stream of the connection, which a test can pause. */
  stream: Readable;
}

const DEADLINE_MS = 20_000;

/**
 * Requests `path` like a client that sees each byte on arrival, and sees whether the answer ended
 * or was cut.
 */
export function ask(
  api: { url: string },
  path: string,
  { token, method = 'GET', headers = {} }: { token?: string; method?: string; headers?: Record<string, string> } = {},
): Promise<Reply> {
  const authorization: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return new Promise((resolve, reject) => {
    const sent = request(new URL(path, api.url), { method, headers: { ...authorization, ...headers }, agent: false });
    sent.once('error', reject);
    sent.once('response', (response) => {
      const gzip = response.headers['content-encoding'] === 'gzip';
      const body = gzip ? response.pipe(createGunzip({ finishFlush: constants.Z_SYNC_FLUSH })) : response;
      const pieces: Buffer[] = [];
      const bytes = () => Buffer.concat(pieces);
      const received = () => bytes().toString('utf8');
      const listeners = new Set<() => void>();
      const end = new Promise<void>((resolveEnd, rejectEnd) => {
        body.once('end', resolveEnd);
        response.once('error', rejectEnd);
        body.once('error', rejectEnd);
      });
      end.catch(() => undefined);
      body.on('data', (piece: Buffer) => {
        pieces.push(piece);
        for (const listener of listeners) listener();
      });
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        received,
        bytes,
        endsWith: (text) =>
          withDeadline(
            new Promise((resolveText) => {
              const look = () => {
                if (received().endsWith(text)) resolveText();
              };
              listeners.add(look);
              look();
            }),
          ),
        whole: async () => {
          await withDeadline(end);
          return received();
        },
        leave: () => sent.destroy(),
        stream: body,
      });
    });
    sent.end();
  });
}

async function withDeadline<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`It did not come within ${DEADLINE_MS} ms.`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
