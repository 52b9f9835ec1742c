import type { IncomingMessage, ServerResponse } from 'node:http';
import type { GraphQLError } from 'graphql';

/** The path of a request without its query. '' if it is malformed. */
export function pathOf({ url = '' }: IncomingMessage): string {
  const [path = ''] = url.split('?', 1);
  return path.startsWith('/') && !path.startsWith('//') ? path : '';
}

/** Sends a whole answer as JSON. */
export function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}

/** Says in a header when to try again, if the error says so. */
export function retryAfter(response: ServerResponse, { extensions: { retryAfterSeconds } }: GraphQLError): void {
  if (typeof retryAfterSeconds === 'number') response.setHeader('retry-after', String(retryAfterSeconds));
}
