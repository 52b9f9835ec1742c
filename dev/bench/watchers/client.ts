import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { now, toMs } from '../time.ts';
import type { Opening, Report, Request } from './protocol.ts';

/**
 * A process of subscribers, which obeys its parent. It speaks just enough of WebSocket and SSE to
 * check every line at a small part of the server's cost: both share the machine.
 */

const BATCH = /"firstNumber":(\d+),"lastNumber":(\d+),"cursor":"([^"]*)",("text":")?/;
/** The engine's time of a line, where the query asks for lines. */
const TIMESTAMP = /"timestamp":"([^"]*)"/g;
/** The length of a line of printer.ts in JSON, and of the time that it begins with. */
const LINE_LENGTH = 61;
const TIME_LENGTH = 17;
const HEADER = 'HTTP/1.1\r\nHost: 127.0.0.1\r\n';
/** docs/use/subscriptions.md */
const RETRY_MS_MIN = 500;
const RETRY_MS_SPREAD = 1_000;
const OPENING_AT_ONCE = 50;

class Subscriber {
  next = 1;
  cursor: string | undefined;
  events = 0;
}

const subscribers: Subscriber[] = [];
const sockets = new Set<Socket>();
const buckets = new Map<number, number>(); // milliseconds: lines
let problems = 0;
let firstProblem = '';
let events = 0;
let bytes = 0;
let since = Number.POSITIVE_INFINITY;
let resumedAt = 0;

function problem(text: string): void {
  problems += 1;
  firstProblem ||= text;
}

/** Takes one result in JSON. */
function take(subscriber: Subscriber, result: string): void {
  events += 1;
  subscriber.events += 1;
  const found = BATCH.exec(result);
  if (!found) {
    if (result.includes('"errors"')) problem(result.slice(0, 300));
    return;
  }
  const [head, first, last, cursor, isText] = found;
  if (Number(first) !== subscriber.next) problem(`line ${first} came, and ${subscriber.next} was expected`);
  subscriber.next = Number(last) + 1;
  subscriber.cursor = cursor;
  const at = now();
  if (isText === undefined) {
    for (const [, timestamp = ''] of result.matchAll(TIMESTAMP)) note(toMs(timestamp), at);
    return;
  }
  let place = found.index + head.length;
  for (let number = Number(first); number <= Number(last); number += 1, place += LINE_LENGTH) {
    note(Number(result.slice(place, place + TIME_LENGTH)), at);
  }
}

function note(printed: number, at: number): void {
  if (printed < since) return;
  const ms = Math.round(at - printed);
  buckets.set(ms, (buckets.get(ms) ?? 0) + 1);
}

function frame(message: object): Buffer {
  const text = Buffer.from(JSON.stringify(message));
  const head = text.length < 126 ? Buffer.from([0x81, 0x80 | text.length]) : Buffer.from([0x81, 0xfe, 0, 0]);
  if (text.length >= 126) head.writeUInt16BE(text.length, 2);
  return Buffer.concat([head, Buffer.alloc(4), text]); // a mask of zeros changes nothing
}

const shared = Buffer.allocUnsafeSlow(256 * 1_024);

function open(opening: Opening, own: Subscriber[], onOpen: () => void): void {
  const { port, token, kind, query, variables, reconnects } = opening;
  const byId = new Map(own.map((subscriber) => [randomUUID() as string, subscriber]));
  let rest: Buffer = Buffer.alloc(0);
  let isUpgraded = false;
  let isOpen = false;
  let isResumed = false;
  const opened = () => {
    if (!isOpen) onOpen();
    isOpen = true;
  };
  const payloadOf = (subscriber: Subscriber) => ({
    query,
    variables: { ...variables[subscribers.indexOf(subscriber) % variables.length], after: subscriber.cursor },
  });
  const socket = connect({
    port,
    host: '127.0.0.1',
    noDelay: true,
    onread: {
      buffer: shared,
      callback: (length) => {
        bytes += length;
        const part = shared.subarray(0, length);
        const data = rest.length > 0 ? Buffer.concat([rest, part]) : part;
        const used = kind === 'SSE' ? takeEvents(data) : takeFrames(data);
        rest = used < data.length ? Buffer.from(data.subarray(used)) : Buffer.alloc(0);
        return true;
      },
    },
  });
  sockets.add(socket);

  function takeEvents(data: Buffer): number {
    let from = 0;
    for (let end = data.indexOf('\n\n', from); end >= 0; end = data.indexOf('\n\n', from)) {
      const text = data.toString('latin1', from, end);
      from = end + 2;
      const [subscriber] = own;
      if (subscriber && text.includes('data: ')) {
        take(subscriber, text);
        opened();
      }
    }
    return from;
  }

  function takeFrames(data: Buffer): number {
    let from = 0;
    if (!isUpgraded) {
      const end = data.indexOf('\r\n\r\n');
      if (end < 0) return 0;
      isUpgraded = true;
      from = end + 4;
      socket.write(frame({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } }));
    }
    while (data.length - from >= 2) {
      const code = data.readUInt8(from + 1);
      const start = from + (code < 126 ? 2 : code === 126 ? 4 : 10);
      if (data.length < start) break;
      const length =
        code < 126 ? code : code === 126 ? data.readUInt16BE(from + 2) : Number(data.readBigUInt64BE(from + 2));
      if (data.length < start + length) break;
      const isText = (data.readUInt8(from) & 0x0f) === 1;
      from = start + length;
      if (isText) takeMessage(data.toString('latin1', start, from));
    }
    return from;
  }

  function takeMessage(text: string): unknown {
    if (text.startsWith('{"type":"connection_ack"')) {
      for (const [id, subscriber] of byId)
        socket.write(frame({ id, type: 'subscribe', payload: payloadOf(subscriber) }));
      if (opening.isSilent) opened();
      return;
    }
    const subscriber = byId.get(text.slice(7, 43));
    if (!subscriber || !text.startsWith('","type":"next"', 43)) return problem(text.slice(0, 300));
    if (!isResumed) resumedAt = now();
    isResumed = true;
    take(subscriber, text);
    if (own.every((each) => each.events > 0)) opened();
  }

  socket.on('connect', () => {
    if (kind === 'WEBSOCKET') {
      socket.write(
        `GET /graphql ${HEADER}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n`,
      );
      return;
    }
    const [subscriber] = own;
    const body = JSON.stringify(subscriber && payloadOf(subscriber));
    socket.write(
      `POST /graphql ${HEADER}Authorization: Bearer ${token}\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  });
  socket.on('error', () => undefined); // 'close' follows
  socket.on('close', () => {
    sockets.delete(socket);
    if (isClosing) return;
    if (!reconnects) return problem('a connection was closed');
    setTimeout(() => open(opening, own, onOpen), RETRY_MS_MIN + RETRY_MS_SPREAD * Math.random());
  });
}

let isClosing = false;

async function openAll(opening: Opening): Promise<void> {
  const { sockets: count, perSocket } = opening;
  let underWay = 0;
  for (let n = 0; n < count; n += 1) {
    const own = Array.from({ length: perSocket }, () => new Subscriber());
    subscribers.push(...own);
    while (underWay >= OPENING_AT_ONCE) await delay(1);
    underWay += 1;
    open(opening, own, () => {
      underWay -= 1;
    });
  }
  while (underWay > 0) await delay(1);
}

function report(): Report {
  const nexts = subscribers.map(({ next }) => next);
  return {
    buckets: [...buckets],
    events,
    bytes,
    problems,
    firstProblem,
    least: nexts.reduce((least, next) => Math.min(least, next), Number.POSITIVE_INFINITY) - 1,
    resumedAt,
  };
}

process.on('message', (request: Request) => {
  const answer = (value: object = {}) => process.send?.(value);
  if (request.do === 'OPEN') void openAll(request.opening).then(() => answer());
  else if (request.do === 'MEASURE') {
    buckets.clear();
    [events, bytes, since] = [0, 0, now()];
    answer();
  } else if (request.do === 'REPORT') answer(report());
  else {
    isClosing = true;
    for (const socket of sockets) socket.destroy();
    process.disconnect();
  }
});
