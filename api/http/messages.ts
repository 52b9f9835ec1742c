import type { IncomingMessage, ServerResponse } from 'node:http';

/** The path that is asked for, without its query; '' where it is none. */
export function pathOf({ url = '' }: IncomingMessage): string {
  const [path = ''] = url.split('?', 1);
  return path.startsWith('/') && !path.startsWith('//') ? path : '';
}

/** Sends a whole answer, where no GraphQL engine does. */
export function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}
