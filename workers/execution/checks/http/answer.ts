import type { Head } from './head.ts';

/** What came in answer to a request, in whatever version of HTTP. */
export interface Answer {
  head: Head;
  /** The version, where a log line says it. */
  over: '' | ' over HTTP/2';
  /** When the first byte came (performance.now()). */
  firstAt: () => number | undefined;
  /** The body, without its framing. Rejects when it ends before its end. */
  body: AsyncIterable<Buffer>;
  /** Ends the connection. */
  close: () => void;
}
