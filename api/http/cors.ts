import type { IncomingMessage, ServerResponse } from 'node:http';

/** Lets the page of an allowed origin read the answer, with its credentials. */
export function allowOrigin(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('access-control-allow-origin', request.headers.origin ?? '');
  response.setHeader('access-control-allow-credentials', 'true');
  response.setHeader('access-control-expose-headers', EXPOSED);
}

/** Whether a browser asks beforehand if a page may send what it wants to. */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined;
}

/** The page of an allowed origin may send any header, as one of our own could; clients add some for their tracing. */
export function answerPreflight({ headers }: IncomingMessage, response: ServerResponse): void {
  response.appendHeader('vary', 'Access-Control-Request-Headers');
  response.writeHead(204, {
    'access-control-allow-methods': 'GET, HEAD, POST',
    'access-control-allow-headers': headers['access-control-request-headers'] ?? 'Authorization, Content-Type',
    'access-control-max-age': String(PREFLIGHT_KEPT_SECONDS),
  });
  response.end();
}

const EXPOSED = 'Log-Cursor, Content-Disposition, Retry-After';
const PREFLIGHT_KEPT_SECONDS = 7_200; // browsers keep it no longer; the request itself is judged each time
