import dgram from 'node:dgram';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { parseAddress } from '../../domain/network/networks.ts';

const TYPES = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, MX: 15, TXT: 16, AAAA: 28, SRV: 33, CAA: 257 };
type Type = keyof typeof TYPES;

/**
 * A name server on loopback with these records: by "name TYPE", each as dig prints it. A TXT record
 * is a list of texts. For any other name it says that there is none.
 */
export async function recordServer(zone: Record<string, (string | string[])[]>): Promise<string> {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (query, peer) => {
    const { name, type, end } = question(query);
    const records = type === undefined ? undefined : zone[`${name} ${type}`];
    const isKnown = Object.keys(zone).some((key) => key.startsWith(`${name} `));
    const head = Buffer.from(query.subarray(0, end));
    head.writeUInt16BE(isKnown ? 0x8180 : 0x8183, 2);
    head.writeUInt16BE(records?.length ?? 0, 6);
    head.writeUInt32BE(0, 8);
    const answers = type === undefined ? [] : (records ?? []).map((record) => answer(type, record));
    socket.send(Buffer.concat([head, ...answers]), peer.port, peer.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  onTestFinished(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  return `127.0.0.1:${socket.address().port}`;
}

function question(query: Buffer): { name: string; type: Type | undefined; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const type = (Object.keys(TYPES) as Type[]).find((one) => TYPES[one] === query.readUInt16BE(at + 1));
  return { name: labels.join('.').toLowerCase(), type, end: at + 5 };
}

/** A record for the name of the question, with a time to live of 0. */
function answer(type: Type, record: string | string[]): Buffer {
  const data = Buffer.concat(dataOf(type, [record].flat()));
  const head = Buffer.from([0xc0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  head.writeUInt16BE(TYPES[type], 2);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function dataOf(type: Type, texts: string[]): Buffer[] {
  const words = texts.join('').split(' ');
  const [first = '', second = '', third = '', fourth = ''] = words;
  switch (type) {
    case 'A':
    case 'AAAA':
      return [Buffer.from(parseAddress(first)?.toByteArray() ?? [])];
    case 'NS':
    case 'CNAME':
    case 'PTR':
      return [nameBytes(first)];
    case 'MX':
      return [number(first, 2), nameBytes(second)];
    case 'SRV':
      return [number(first, 2), number(second, 2), number(third, 2), nameBytes(fourth)];
    case 'SOA':
      return [nameBytes(first), nameBytes(second), ...words.slice(2).map((word) => number(word, 4))];
    case 'TXT':
      return texts.map(lengthFirst);
    case 'CAA':
      return [number(first, 1), lengthFirst(second), Buffer.from(third)];
  }
}

function nameBytes(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== ''); // the root has none
  return Buffer.concat([...labels.map(lengthFirst), Buffer.from([0])]);
}

function lengthFirst(text: string): Buffer {
  return Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)]);
}

function number(text: string, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(Number(text), 0, bytes);
  return buffer;
}
