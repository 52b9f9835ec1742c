import dgram from 'node:dgram';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import net, { type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { onTestFinished } from 'vitest';
import type { HeartbeatPayload } from '../../domain/payload/payload.ts';
import { type CheckContext, type CheckResult, runCheck } from '../../workers/execution/check.ts';
import { createNames, type Names } from '../../workers/shared/dns/names.ts';
import { policy } from './policy.ts';

export { policy };

/** Runs a check that may reach only loopback, unless `context` says otherwise. */
export function check(
  payload: Omit<HeartbeatPayload<never>, 'kind'>,
  context: Partial<CheckContext> = {},
): Promise<CheckResult> {
  const up = async () => true;
  return runCheck(
    { kind: 'HEARTBEAT', ...payload },
    {
      allow: policy('loopback'),
      platform: { database: up, bus: up, cache: up },
      signal: new AbortController().signal,
      ...context,
    },
  );
}

/** The reason and the message of a failure, or "ok". */
export function outcome(result: CheckResult): string {
  return result.ok ? 'ok' : `${result.reason}: ${result.message}`;
}

export function texts(result: CheckResult): string[] {
  return result.lines.map((line) => line.text);
}

/**
 * Listens on a free port of 127.0.0.1 until the test ends. The test fails if a check has left a
 * connection open.
 */
export async function listening<S extends Server>(server: S): Promise<{ server: S; host: string; port: number }> {
  const open = new Set<Socket>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('error', () => undefined); // the check may cut connections
    socket.once('close', () => open.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    await until(() => open.size === 0, 'the checks to have closed their connections');
  });
  const port = portOf(server.address());
  return { server, host: `127.0.0.1:${port}`, port };
}

/** A TCP server that calls `onConnection` for each connection. */
export function raw(onConnection: (socket: Socket) => void) {
  return listening(net.createServer({ allowHalfOpen: false }, onConnection));
}

/** What else than addresses a name server says. TRUNCATED: only over TCP, where nobody listens. */
const CODES = { NOERROR: 0x8180, NXDOMAIN: 0x8183, SERVFAIL: 0x8182, REFUSED: 0x8185, TRUNCATED: 0x8380 };
type NameAnswer = string[] | undefined | 'silence' | keyof typeof CODES;

/**
 * A TCP server that answers each request with exactly these bytes, then closes. It returns what it
 * received. A text is one character a byte.
 */
export async function answering(...answers: (string | Buffer)[]) {
  const requests: string[] = [];
  const { host } = await raw((socket) => {
    let request = '';
    socket.on('data', (piece) => {
      request += piece.toString('latin1');
      if (!request.includes('\r\n\r\n')) return;
      const answer = answers[Math.min(requests.length, answers.length - 1)] ?? '';
      requests.push(request);
      socket.end(typeof answer === 'string' ? Buffer.from(answer, 'latin1') : answer);
    });
  });
  return { host, requests, endpoint: `http://${host}/` };
}

/** The bytes of a response with `body` and these lines of headers. */
export function response(headers: string[], body: Buffer, status = '200 OK'): Buffer {
  const lines = [`HTTP/1.1 ${status}`, `Content-Length: ${body.length}`, ...headers];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}

/**
 * A name server on loopback for `names` only. `answer` returns the addresses of a name, undefined
 * for an unknown name, or what goes wrong. It answers after `delayMs`, which may depend on the
 * type. `type` is 28 for IPv6.
 */
export async function nameServer(
  answer: (name: string, type: number) => NameAnswer,
  delayMs: number | ((type: number) => number) = 0,
): Promise<{ names: Names; asked: string[]; server: string }> {
  const socket = dgram.createSocket('udp4');
  const asked: string[] = [];
  let isOpen = true;
  socket.on('close', () => {
    isOpen = false;
  });
  socket.on('message', (query, peer) => {
    const { name, type, end } = question(query);
    asked.push(name);
    const said = answer(name, type);
    if (said === 'silence') return;
    const addresses = Array.isArray(said) ? said.filter((address) => (type === 28) === address.includes(':')) : said;
    const reply = replyTo(query, end, addresses, type);
    setTimeout(
      () => isOpen && socket.send(reply, peer.port, peer.address),
      typeof delayMs === 'number' ? delayMs : delayMs(type),
    );
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  onTestFinished(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  const server = `127.0.0.1:${portOf(socket.address())}`;
  return { names: createNames({ servers: [server], resolvFile: '/nonexistent' }), asked, server };
}

export async function until(condition: () => boolean, what: string, deadlineMs = 20_000): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited ${deadlineMs} ms in vain for ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function portOf(address: ReturnType<Server['address']>): number {
  if (typeof address !== 'object' || address === null) throw new Error('The server does not listen.');
  return address.port;
}

function question(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function replyTo(query: Buffer, end: number, said: string[] | undefined | keyof typeof CODES, type: number): Buffer {
  const head = Buffer.from(query.subarray(0, end));
  const records = Array.isArray(said) ? said.map((address) => record(address, type)) : [];
  head.writeUInt16BE(CODES[Array.isArray(said) ? 'NOERROR' : (said ?? 'NXDOMAIN')], 2);
  head.writeUInt16BE(records.length, 6);
  head.writeUInt32BE(0, 8);
  return Buffer.concat([head, ...records]);
}

/** A resource record for the name of the question, with a time to live of 0. */
function record(address: string, type: number): Buffer {
  const data = type === 28 ? ipv6Bytes(address) : Buffer.from(address.split('.').map(Number));
  const head = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, data.length]);
  return Buffer.concat([head, data]);
}

function ipv6Bytes(address: string): Buffer {
  const [left = '', right = ''] = address.split('::');
  const groups = (half: string) => (half === '' ? [] : half.split(':'));
  const zeros = Array<string>(8 - groups(left).length - groups(right).length).fill('0');
  return Buffer.from(
    [...groups(left), ...zeros, ...groups(right)].map((group) => group.padStart(4, '0')).join(''),
    'hex',
  );
}

/** Joins the two ends of a tunnel, as a proxy that takes a CONNECT. It says `established` first. */
export function tunnel({ url = '' }: IncomingMessage, socket: Duplex, head: Buffer, established: string): void {
  const [host, port] = url.split(':');
  const target = net.connect(Number(port), host, () => {
    socket.write(established);
    target.write(head);
    target.pipe(socket).pipe(target);
  });
  target.on('error', () => socket.destroy());
  target.on('close', () => socket.destroy());
  socket.on('error', () => target.destroy());
  socket.on('close', () => target.destroy());
}
