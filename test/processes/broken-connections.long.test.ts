import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertChunks } from '../../db/logs/append.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { packLines } from '../../domain/logs/packing.ts';
import { person } from '../api/support.ts';
import { randomOf } from '../faults/random.ts';
import { connectionsOf, descriptorsBut } from '../support/connections.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { frame, ping, upgradeRequest } from '../support/frames.ts';
import { runningJob } from '../support/jobs.ts';
import { ask, cleanUp, type Running, startProcess, tempFolder } from '../support/processes.ts';

const CONNECTIONS = 600;
const AT_ONCE = 40;
const STAY_MS_MAX = 600;
const LINES = 40; // per chunk; every later subscriber reads all lines so far
const ERROR_LEVEL = 50;

let database: TestDatabase;
let up: Running;
let url: string;
let port: number;
let token: string;
let jobId: string;
beforeAll(async () => {
  database = await testDatabase();
  const env = { DATABASE_URL: database.url, SECRET_KEY: 'ab'.repeat(32), LOG_LEVEL: 'info' };
  up = startProcess(['up'], { PORT: '0', DATA_DIR: await tempFolder(), ...env });
  url = await up.ready();
  port = Number(new URL(url).port);
  const ann = await person({ url });
  token = ann.token;
  jobId = await runningJob(database, ann);
});
afterAll(async () => {
  await cleanUp();
  await database?.close();
});

test('P12: connections that are reset, half-closed, stalled or left in any phase end no process and leave nothing open', async () => {
  const random = randomOf('broken connections');
  const pick = <T>(items: readonly T[]): T => {
    const [picked] = items.slice(Math.floor(random() * items.length));
    if (picked === undefined) throw new Error('There is nothing to pick from.');
    return picked;
  };
  await expect.poll(() => connectionsOf(up.pid, port), { timeout: 20_000 }).toBe(0);
  const openBefore = await descriptors();
  let printing = true;
  const printed = printLines(() => printing);

  const phases = phasesOf();
  const clients = Array.from({ length: AT_ONCE }, async () => {
    for (let n = 0; n < CONNECTIONS / AT_ONCE; n += 1)
      await visit(pick(phases), pick(WAYS_TO_END), { stayMs: random() * STAY_MS_MAX, cut: random() });
  });
  await Promise.all(clients);
  printing = false;
  await printed;

  const answer = () => ask(url, '{ viewer { id } }', { token }).catch(String);
  await expect.poll(answer, { timeout: 30_000 }).toMatchObject({ viewer: {} });
  await expect.poll(() => connectionsOf(up.pid, port), { timeout: 20_000 }).toBe(0);
  await expect.poll(descriptors, { timeout: 20_000 }).toBeLessThanOrEqual(openBefore);
  expect(up.log.filter(({ level }) => Number(level) >= ERROR_LEVEL)).toEqual([]);
  // The process has not restarted.
  expect(up.log.filter(({ event }) => event === 'ready')).toHaveLength(1);
});

type WayToEnd = (socket: Socket) => Promise<void>;

/**
 * The ways in which a client ends its connection. `allowHalfOpen` leaves the other half to the
 * server.
 */
const WAYS_TO_END: WayToEnd[] = [
  async (socket) => void socket.resetAndDestroy(),
  async (socket) => void socket.destroy(),
  async (socket) => {
    socket.end();
    await delay(200);
    socket.resetAndDestroy();
  },
  async (socket) => {
    socket.pause(); // it stops reading, and leaves later
    await delay(500);
    socket.destroy();
  },
];

/** What a client has sent when it leaves. It may send only a part of the last piece. */
function phasesOf(): (string | Buffer)[][] {
  const authorization = `Authorization: Bearer ${token}\r\n`;
  const init = frame(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } }));
  const subscribe = (query: string, id = '1') => frame(JSON.stringify({ type: 'subscribe', id, payload: { query } }));
  const logs = `subscription { jobLogs(jobId: "${jobId}") { text } }`;
  const get = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${headers}\r\n`;
  const events = `/graphql?query=${encodeURIComponent(logs)}`;
  const body = JSON.stringify({ query: '{ jobs(first: 10) { nodes { id } } }' });
  const post = (headers: string) =>
    `POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n${authorization}${headers}\r\n\r\n`;
  return [
    [''],
    ['GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: '],
    [get('/graphql', 'Accept: text/html\r\n')],
    [post(`Content-Length: ${body.length}`), body],
    [post('Transfer-Encoding: chunked'), `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`],
    [post(`Content-Length: ${body.length}\r\nExpect: 100-continue`), body],
    [get('/graphql?query=%7B__typename%7D').repeat(20)],
    [get(events, `${authorization}Accept: text/event-stream\r\n`)],
    [get(`/logs/${jobId}?follow`, authorization)],
    [get(`/logs/${jobId}`, `${authorization}Accept-Encoding: gzip\r\n`)],
    [get(`/logs/${jobId}?follow`, authorization), upgradeRequest()],
    [upgradeRequest('/elsewhere')],
    [upgradeRequest('/graphql', 'Origin: https://evil.example\r\n')],
    ['CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n'],
    [upgradeRequest()],
    [upgradeRequest(), init],
    [upgradeRequest(), frame('{"type":"connection_init"}'), subscribe('{ __typename }')],
    [upgradeRequest(), init, subscribe('{ jobs(first: 10) { nodes { id } } }'), subscribe(logs, '2')],
    [upgradeRequest(), init, subscribe(logs), subscribe('subscription { workflowUpdated { id } }', '2'), ping('now')],
    [upgradeRequest(), Buffer.concat([init, subscribe(logs), Buffer.from([0xff, 0xff, 0xff])])],
    [upgradeRequest(), ping('x'.repeat(125)), Buffer.concat(Array.from({ length: 200 }, () => ping('again')))],
  ];
}

async function visit(phase: (string | Buffer)[], end: WayToEnd, { stayMs, cut }: { stayMs: number; cut: number }) {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => undefined).resume();
  for (const [n, piece] of phase.entries()) {
    const isLast = n === phase.length - 1;
    const sent = isLast && cut < 0.5 ? piece.slice(0, Math.floor(piece.length * cut * 2)) : piece;
    socket.write(sent);
    await delay(stayMs / phase.length); // the server may or may not have begun to handle the piece
  }
  if (!socket.destroyed) await end(socket);
  await closed;
}

/** Adds lines to the job, more than the system buffers for a client that does not read. */
async function printLines(goesOn: () => boolean): Promise<void> {
  const text = 'x'.repeat(1_000);
  for (let first = 1; goesOn(); first += LINES) {
    const lines = Array.from({ length: LINES }, () => formatLine('STDOUT', '2026-01-01T00:00:00.000000001Z', text));
    const packed = await packLines(Buffer.from(lines.join('')));
    await insertChunks(database.db, [
      { sourceId: jobId, attempt: 1, firstNumber: first, lastNumber: first + LINES - 1, lines: packed },
    ]);
    await delay(100);
  }
}

/** Leaves out connections to the database, which are opened on demand. */
function descriptors(): Promise<number> {
  return descriptorsBut(up.pid, Number(new URL(database.url).port));
}
