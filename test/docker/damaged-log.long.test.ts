import { once } from 'node:events';
import http, { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parseLines } from '../../domain/logs/decode.ts';
import { unpackLines } from '../../domain/logs/packing.ts';
import { createDocker, type Docker } from '../../platform/docker/docker.ts';
import { createChunkWriter } from '../../workers/shared/log-collector/chunk-writer.ts';
import { collectLog } from '../../workers/shared/log-collector/collector.ts';
import { engineTarget } from '../support/refusing-engine.ts';
import { quiet } from '../support/workers.ts';
import { dockerHost, openDocker, removeAll, runLabel, startShell } from './support.ts';

const LINES = 100;
/** A log cannot be read behind this line, except from its end. */
const DAMAGED_AFTER = 40;
const AWAY_MS = 300;
const RETRY_MS = 500;
const DAMAGE = Buffer.from('error decoding log message');

const host = dockerHost('logs that an engine cannot read');
describe.skipIf(host === undefined)('a log that its engine cannot read behind a damage', () => {
  const labels = runLabel();
  let docker: Docker;
  let server: http.Server;
  let awayUntil = 0;
  /** What becomes of a request for this many last frames. Undefined: the engine answers it. */
  let onTail: (tail: number) => 'DIES' | number | undefined;
  let asked: number[];

  beforeAll(async () => {
    docker = openDocker(host);
    server = createServer(serve);
    await once(server.listen(0, '127.0.0.1'), 'listening');
  });
  afterEach(() => {
    awayUntil = 0;
  });
  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await removeAll(docker, labels);
  });

  /** A real engine, but for the logs. */
  function serve(request: IncomingMessage, response: ServerResponse): void {
    if (Date.now() < awayUntil) return void response.destroy();
    const { searchParams, pathname } = new URL(request.url ?? '', 'http://engine');
    const isLog = pathname.endsWith('/logs');
    const tail = Number(searchParams.get('tail') ?? Number.NaN);
    const fate = isLog && !Number.isNaN(tail) ? onTail(tail) : undefined;
    if (isLog && !Number.isNaN(tail)) asked.push(tail);
    if (fate === 'DIES') {
      awayUntil = Date.now() + AWAY_MS;
      return void response.destroy();
    }
    const message = fate === 404 ? 'No such container' : 'refused';
    if (fate !== undefined) return void response.writeHead(fate).end(JSON.stringify({ message }));
    const target = engineTarget(host ?? '');
    const options = { ...target, method: request.method, path: request.url, headers: request.headers, agent: false };
    const onward = http.request(options, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      if (isLog && Number.isNaN(tail)) giveBeginning(answer, response);
      else answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  }

  /** Gives the frames before the damage, and the engine's error. */
  async function giveBeginning(answer: IncomingMessage, response: ServerResponse): Promise<void> {
    let bytes = Buffer.alloc(0);
    let at = 0;
    let frames = 0;
    for await (const part of answer) {
      bytes = Buffer.concat([bytes, part]);
      while (frames < DAMAGED_AFTER && bytes.length >= at + 8 && bytes.length >= at + 8 + bytes.readUInt32BE(at + 4)) {
        at += 8 + bytes.readUInt32BE(at + 4);
        frames += 1;
      }
      if (frames === DAMAGED_AFTER) break;
    }
    const head = Buffer.from([3, 0, 0, 0, 0, 0, 0, DAMAGE.length]);
    response.end(Buffer.concat([bytes.subarray(0, at), head, DAMAGE]));
  }

  async function collect(fate: typeof onTail) {
    onTail = fate;
    asked = [];
    const id = await startShell(docker, labels, `seq 1 ${LINES}; exit 3`);
    const { port } = server.address() as { port: number };
    const texts: string[] = [];
    let damages = 0;
    const writer = createChunkWriter({
      sourceId: 'test',
      attempt: 1,
      linesBefore: 0,
      publish: async ({ lines, firstNumber }) => {
        texts.push(...parseLines(await unpackLines(lines), firstNumber, 1).map(({ text }) => text));
      },
    });
    const collected = await collectLog({
      docker: createDocker({ host: `tcp://127.0.0.1:${port}`, log: quiet }),
      containerId: id,
      writer,
      log: quiet,
      signal: new AbortController().signal,
      retryMs: RETRY_MS,
      onDamage: () => {
        damages += 1;
      },
    });
    await writer.end();
    expect(collected.state).toMatchObject({ status: 'ended', exitCode: 3 });
    expect(damages).toBe(1);
    return texts.map(Number);
  }
  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
  const beginning = range(1, DAMAGED_AFTER);

  test('has its end, as far as the engine gives it', async () => {
    expect(await collect(() => undefined)).toEqual([...beginning, ...range(DAMAGED_AFTER + 1, LINES)]);
  });

  test.each([1, 2, 3, 20, 33])('kills an engine once, not again: it dies when asked for %i frames', async (deadly) => {
    const numbers = await collect((tail) => (tail >= deadly ? 'DIES' : undefined));
    expect(asked.filter((tail) => tail >= deadly)).toHaveLength(1);
    const given = 2 ** Math.floor(Math.log2(deadly - 1));
    expect(numbers).toEqual([...beginning, ...(deadly === 1 ? [] : range(LINES - given + 1, LINES))]);
  });

  test('kills no engine for good that dies even of what it gave before', async () => {
    let times = 0;
    const numbers = await collect((tail) => (tail > 4 || (tail === 4 && times++ > 0) ? 'DIES' : undefined));
    expect(asked.filter((tail) => tail >= 4)).toEqual([4, 8, 4, 4]);
    expect(numbers).toEqual(beginning);
  });

  test.each([404, 403, 500])('is given up when the engine refuses its end with %i', async (status) => {
    expect(await collect(() => status)).toEqual(beginning);
  });
});
