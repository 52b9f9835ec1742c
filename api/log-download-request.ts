import type { IncomingMessage } from 'node:http';
import Negotiator from 'negotiator';
import type { LogLine } from '../domain/log-chunk.ts';
import { didYouMean } from '../domain/nearest.ts';
import { failure } from './errors.ts';

/** What the query of a download asks for. */
export interface DownloadQuery {
  /** A cursor: not checked yet. */
  after?: string;
  follow: boolean;
  stream?: LogLine['stream'];
}

export const TEXT = 'text/plain; charset=utf-8';
export const NDJSON = 'application/x-ndjson';

/** Parses the query of a download. Throws BAD_REQUEST. */
export function parseDownloadQuery({ url = '' }: IncomingMessage): DownloadQuery {
  const query = new URLSearchParams(url.split('?').slice(1).join('?'));
  for (const name of new Set(query.keys())) {
    if (!PARAMETERS.includes(name)) {
      const known = PARAMETERS.map((parameter) => `\`${parameter}\``).join(', ');
      throw failure('BAD_REQUEST', `There is no parameter \`${name}\`, only ${known}.${didYouMean(name, PARAMETERS)}`);
    }
    if (query.getAll(name).length > 1) throw failure('BAD_REQUEST', `Give \`${name}\` once, not several times.`);
  }
  const [after, follow, stream] = [query.get('after'), query.get('follow'), query.get('stream')];
  if (follow !== null && follow !== '' && follow !== 'true' && follow !== 'false') {
    throw failure('BAD_REQUEST', `\`follow\` must be "true", "false" or stand alone, not "${follow}".`);
  }
  if (stream !== null && stream !== 'STDOUT' && stream !== 'STDERR') {
    throw failure('BAD_REQUEST', `\`stream\` must be STDOUT or STDERR, not "${stream}".`);
  }
  return {
    follow: follow !== null && follow !== 'false',
    ...(after === null ? {} : { after }),
    ...(stream === null ? {} : { stream }),
  };
}

/** In which form the client wants a log, by its Accept and Accept-Encoding; no `type` where it takes none of ours. */
export function negotiate(request: IncomingMessage): { type: typeof TEXT | typeof NDJSON | undefined; gzip: boolean } {
  const negotiator = new Negotiator(request);
  const type = negotiator.mediaType([TEXT, NDJSON]);
  return {
    type: type === TEXT || type === NDJSON ? type : undefined,
    gzip: negotiator.encoding(['gzip', 'identity']) === 'gzip',
  };
}

const PARAMETERS = ['after', 'follow', 'stream'];
