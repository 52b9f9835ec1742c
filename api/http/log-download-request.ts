import type { IncomingMessage } from 'node:http';
import Negotiator from 'negotiator';
import type { LogLine } from '../../domain/logs/line.ts';
import { didYouMean } from '../../domain/suggest.ts';
import { failure } from '../errors.ts';

/** The query parameters of a download. */
export interface DownloadQuery {
  /** A cursor, not yet checked. */
  after?: string;
  follow: boolean;
  stream?: LogLine['stream'];
  /** Whether control characters in the text stay as they were printed. */
  raw: boolean;
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
  const [after, stream] = [query.get('after'), query.get('stream')];
  if (stream !== null && stream !== 'STDOUT' && stream !== 'STDERR') {
    throw failure('BAD_REQUEST', `\`stream\` must be STDOUT or STDERR, not "${stream}".`);
  }
  return {
    follow: parseSwitch(query, 'follow'),
    raw: parseSwitch(query, 'raw'),
    ...(after === null ? {} : { after }),
    ...(stream === null ? {} : { stream }),
  };
}

function parseSwitch(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  if (value !== null && value !== '' && value !== 'true' && value !== 'false') {
    throw failure('BAD_REQUEST', `\`${name}\` must be "true", "false" or stand alone, not "${value}".`);
  }
  return value !== null && value !== 'false';
}

/**
 * The format that the client wants, by its Accept and Accept-Encoding. `type` is undefined if it
 * accepts none of ours.
 */
export function negotiate(request: IncomingMessage): { type: typeof TEXT | typeof NDJSON | undefined; gzip: boolean } {
  const negotiator = new Negotiator(request);
  const type = negotiator.mediaType([TEXT, NDJSON]);
  return {
    type: type === TEXT || type === NDJSON ? type : undefined,
    gzip: negotiator.encoding(['gzip', 'identity']) === 'gzip',
  };
}

const PARAMETERS = ['after', 'follow', 'stream', 'raw'];
