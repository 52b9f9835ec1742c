import { quoted } from '../quote.ts';
import type { Run } from '../run.ts';
import { connectionFault } from './fault.ts';
import { beginningOf } from './header-text.ts';
import type { Frames } from './http2-frames.ts';
import { Refusal } from './http2-transport.ts';
import { HEADERS_BYTES_MAX } from './receive-head.ts';

/** The codes of RFC 9113, section 7, by their numbers. */
const CODES = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
];
/** What a server says that serves this request over HTTP/1.1 alone. */
export const HTTP_1_1_REQUIRED = CODES.indexOf('HTTP_1_1_REQUIRED');

/** What node:http2 says of a server that broke the rules, or of headers beyond a maximum. */
const BREAKS = 'it breaks the rules of HTTP/2';
const BROKEN = /^ERR_HTTP2_/;
const TOO_LONG = 'Stream closed with error code NGHTTP2_ENHANCE_YOUR_CALM';

/**
 * Why a conversation in HTTP/2 has ended too soon, in words that can follow a colon or "then":
 * what the server said, or else the error of the connection or of node:http2.
 */
export function http2Fault(run: Run, frames: Frames, error: unknown): string {
  const { end } = frames;
  if (end?.by === 'RESET') return `it reset the stream (${codeName(end.code)})`;
  if (end?.by === 'GOAWAY') {
    const says = end.says.length === 0 ? '' : `, saying ${quoted(run.context.mask, beginningOf(end.says))}`;
    return `it ended the connection (${codeName(end.code)})${says}`;
  }
  if (end?.by === 'NOT_HTTP2')
    return `an answer that is not HTTP/2, beginning ${quoted(run.context.mask, beginningOf(frames.beginning))}`;
  if (end?.by === 'TOO_MUCH') return `more than ${end.what}`;
  if (error instanceof Refusal) return `${BREAKS} (${codeName(error.http2Code)})`;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (!(error instanceof Error) || !BROKEN.test(code)) return connectionFault(run, error);
  if (error.message === TOO_LONG) return tooLong(`${HTTP2_HEADERS_MAX} headers`);
  return `${BREAKS} (${/NGHTTP2_(\w+)/.exec(error.message)?.[1] ?? error.message})`;
}

/** Of headers in one response. */
export const HTTP2_HEADERS_MAX = 2_000;

export function tooLong(or?: string): string {
  return `headers of more than ${HEADERS_BYTES_MAX} bytes${or === undefined ? '' : `, or more than ${or}`}`;
}

function codeName(code: number): string {
  return CODES[code] ?? `code ${code}`;
}
