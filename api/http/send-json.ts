import type { ServerResponse } from 'node:http';

/** Answers whole, where no GraphQL engine does. */
export function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}
