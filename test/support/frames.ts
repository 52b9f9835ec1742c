import { randomBytes } from 'node:crypto';

const TEXT = 0x81;
const PING = 0x89;

/**
 * One masked frame, as a client sends it. For tests that disconnect in the middle of a frame, which
 * no client library does.
 */
export function frame(text: string, opcode = TEXT): Buffer {
  const payload = Buffer.from(text);
  const mask = randomBytes(4);
  for (const [n, byte] of payload.entries()) payload[n] = byte ^ (mask[n % 4] ?? 0);
  return Buffer.concat([head(opcode, payload.length), mask, payload]);
}

export function ping(text: string): Buffer {
  return frame(text, PING);
}

/** The HTTP request that opens a WebSocket of the GraphQL protocol. */
export function upgradeRequest(path = '/graphql', headers = ''): string {
  const wanted = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
  const more = ['Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', 'Sec-WebSocket-Protocol: graphql-transport-ws'];
  return `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${[...wanted, ...more].join('\r\n')}\r\n${headers}\r\n`;
}

function head(opcode: number, length: number): Buffer {
  if (length < 126) return Buffer.from([opcode, 0x80 | length]);
  if (length < 65_536) return Buffer.from([opcode, 0x80 | 126, length >> 8, length & 0xff]);
  const long = Buffer.alloc(10);
  long.set([opcode, 0x80 | 127]);
  long.writeBigUInt64BE(BigInt(length), 2);
  return long;
}
