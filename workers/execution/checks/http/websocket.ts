import { createHash, randomBytes } from 'node:crypto';
import type { Head } from './head.ts';
import { listOf } from './head.ts';
import type { Request } from './request.ts';

/** Of RFC 6455. */
const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const KEY_BYTES = 16;

/** Says goodbye: an empty close frame, masked as a client's must be. */
export const CLOSE_FRAME = Buffer.from([0x88, 0x80, 0, 0, 0, 0]);

export function newKey(): string {
  return randomBytes(KEY_BYTES).toString('base64');
}

/** `request` as one that asks for a WebSocket. */
export function asksForWebSocket(request: Request, key: string): Request {
  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': key,
  };
  return { ...request, headers: { ...request.headers, ...upgrade } };
}

/** Why a response with the status 101 opens no WebSocket, in words that follow "answered 101". */
export function upgradeProblem(head: Head, key: string): string | undefined {
  if (!listOf(head, 'upgrade').includes('websocket')) return 'without the header "Upgrade: websocket"';
  if (!listOf(head, 'connection').includes('upgrade')) return 'without the header "Connection: Upgrade"';
  const accept = createHash('sha1').update(`${key}${ACCEPT_GUID}`).digest('base64');
  if (head.headers.get('sec-websocket-accept')?.[0] !== accept)
    return 'without the Sec-WebSocket-Accept that answers the key of the request';
  return undefined;
}
