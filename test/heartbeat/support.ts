import dgram from 'node:dgram';
import { once } from 'node:events';
import net, { type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { type NetworkPolicy, parseAllow } from '../../domain/network/networks.ts';
import type { HeartbeatPayload } from '../../domain/payload/payload.ts';
import { type CheckContext, type CheckResult, runCheck } from '../../workers/execution/check.ts';
import { createNames, type Names } from '../../workers/shared/dns/names.ts';

export function policy(text: string): NetworkPolicy {
  const parsed = parseAllow(text);
  if (typeof parsed === 'string') throw new Error(parsed);
  return parsed;
}

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

/**
 * A name server on loopback for `names` only. `answer` returns the addresses of a name, undefined
 * for an unknown name, or "silence". It answers after `delayMs`.
 */
export async function nameServer(
  answer: (name: string) => string[] | undefined | 'silence',
  delayMs = 0,
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
    const addresses = answer(name);
    if (addresses === 'silence') return;
    const reply = replyTo(
      query,
      end,
      addresses?.filter((address) => (type === 28) === address.includes(':')),
      type,
    );
    setTimeout(() => isOpen && socket.send(reply, peer.port, peer.address), delayMs);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  onTestFinished(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  const server = `127.0.0.1:${portOf(socket.address())}`;
  return { names: createNames({ servers: [server], resolvFile: '/nonexistent' }), asked, server };
}

export async function until(condition: () => boolean, what: string, deadlineMs = 5_000): Promise<void> {
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

function replyTo(query: Buffer, end: number, addresses: string[] | undefined, type: number): Buffer {
  const head = Buffer.from(query.subarray(0, end));
  head.writeUInt16BE(addresses === undefined ? 0x8183 : 0x8180, 2); // NXDOMAIN or NOERROR
  head.writeUInt16BE(addresses?.length ?? 0, 6);
  head.writeUInt32BE(0, 8);
  return Buffer.concat([head, ...(addresses ?? []).map((address) => record(address, type))]);
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
