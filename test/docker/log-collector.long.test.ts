import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogChunk } from '../../domain/logs/chunk.ts';
import { parseLines } from '../../domain/logs/decode.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import type { LogLine } from '../../domain/logs/line.ts';
import { unpackLines } from '../../domain/logs/packing.ts';
import { createDocker, type Docker } from '../../platform/docker/docker.ts';
import { type ChunkSource, createChunkWriter } from '../../workers/shared/log-collector/chunk-writer.ts';
import { collectLog } from '../../workers/shared/log-collector/collector.ts';
import { readStoredLog, type StoredLog } from '../../workers/shared/log-collector/stored-log.ts';
import { type RefusingEngine, refusingEngine } from '../support/refusing-engine.ts';
import { until } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { dockerHost, openDocker, removeAll, runLabel, startShell } from './support.ts';

const host = dockerHost('the collection of what a container prints');
describe.skipIf(host === undefined)('the log of a real container', () => {
  const labels = runLabel();
  let docker: Docker;
  beforeAll(() => {
    docker = openDocker(host);
  });
  afterAll(() => removeAll(docker, labels));

  /**
   * Collects through an engine that refuses requests as the test says, with retries for half a
   * second.
   */
  async function retrying(engine: RefusingEngine, containerId: string) {
    return collector(containerId, {}, undefined, {
      docker: createDocker({ host: engine.host, log: quiet }),
      retryMs: 500,
    });
  }

  async function collector(
    containerId: string,
    source: Partial<ChunkSource> = {},
    signal = new AbortController().signal,
    { stored, ...options }: { docker?: Docker; retryMs?: number; stored?: LogLine[] } = {},
  ) {
    const chunks: LogChunk[] = [];
    const writer = createChunkWriter({
      sourceId: 'test',
      attempt: 1,
      linesBefore: 0,
      publish: async (chunk) => {
        chunks.push(chunk);
      },
      ...source,
    });
    if (stored !== undefined) writer.resume(await storedLog(stored));
    const { state, isCutShort } = await collectLog({ docker, containerId, writer, log: quiet, signal, ...options });
    await writer.end();
    const parsed = chunks.map(async (chunk) => parseLines(await unpackLines(chunk.lines), chunk.firstNumber, 1));
    const lines = (await Promise.all(parsed)).flat();
    return { state, isCutShort, writer, chunks, lines, texts: lines.map(({ text }) => text) };
  }

  test('the last output before the exit is collected on both streams, including a last line without a newline', async () => {
    const id = await startShell(docker, labels, 'echo out; echo err >&2; echo; printf "a\\tb\\r\\nlast"; exit 3');
    const { state, lines, writer } = await collector(id);
    expect(state).toMatchObject({ status: 'ended', exitCode: 3 });
    expect(lines.filter(({ stream }) => stream === 'STDERR').map(({ text }) => text)).toEqual(['err']);
    expect(lines.filter(({ stream }) => stream === 'STDOUT').map(({ text }) => text)).toEqual([
      'out',
      '',
      'a\tb\r',
      'last',
    ]);
    expect(lines.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5]);
    expect(Date.parse(lines[0]?.timestamp ?? '')).toBeGreaterThan(Date.now() - 60_000);
    expect([writer.lastNumber, writer.lastText()]).toEqual([5, 'last']);
  });

  test.each([
    ['refuses', { status: 500, message: 'error from daemon in stream: invalid character' }],
    ['forbids', { status: 403, message: 'forbidden' }],
  ])('an engine that %s the log of a container that has ended is not asked forever', async (_, refusal) => {
    const engine = await refusingEngine(host ?? '');
    engine.refuse = (__, path) => (/\/logs/.test(path) ? refusal : undefined);
    const id = await startShell(docker, labels, 'echo lost; exit 4');
    await docker.waitContainer(id, { timeoutMs: 10_000, signal: new AbortController().signal });
    const collected = await retrying(engine, id);
    expect(collected).toMatchObject({ isCutShort: true, state: { status: 'ended', exitCode: 4 } });
    await engine.close();
  });

  test('a log that the engine refuses is retried while its container runs, and while the engine does not report its state', async () => {
    const engine = await refusingEngine(host ?? '');
    engine.refuse = (_, path) => (/\/logs/.test(path) ? { status: 500, message: 'busy' } : undefined);
    const id = await startShell(docker, labels, 'echo kept; while [ ! -e /go ]; do sleep 0.1; done; exit 4');
    const collecting = retrying(engine, id);
    await until('it was refused for longer than it retries', async () => engine.refused > 6);
    engine.refuse = () => ({ status: 500, message: 'busy' });
    await docker.stopContainer(id, 0);
    const before = engine.refused;
    await until('it was refused again', async () => engine.refused > before + 4);
    engine.refuse = undefined;
    expect(await collecting).toMatchObject({ isCutShort: false, state: { status: 'ended' }, texts: ['kept'] });
    await engine.close();
  });

  test('a container that prints nothing has an empty log', async () => {
    expect(await collector(await startShell(docker, labels, 'true'))).toMatchObject({ lines: [], chunks: [] });
  });

  test('no line is missing from containers that print much and exit at once, although the engine ends the log early', async () => {
    const expected = Array.from({ length: 20_000 }, (_, n) => String(n + 1));
    for (let round = 0; round < 2; round++) {
      const ids = await Promise.all([1, 2, 3].map(() => startShell(docker, labels, 'seq 1 20000; exit 7')));
      for (const { texts, state } of await Promise.all(ids.map((id) => collector(id)))) {
        expect(texts).toEqual(expected);
        expect(state?.exitCode).toBe(7);
      }
    }
  });

  test('every byte survives: NUL, a line of 200 KB in pieces, a character on the boundary of 16 KiB', async () => {
    const script = [
      'printf "a\\000b\\n"',
      'head -c 200000 /dev/zero | tr "\\0" x; echo',
      'head -c 16382 /dev/zero | tr "\\0" y; printf "\\360\\237\\230\\200\\n"',
    ].join('; ');
    const { lines } = await collector(await startShell(docker, labels, script));
    expect(lines.map(({ text, continues }) => [text.length, continues])).toEqual([
      [3, false],
      [65_536, true],
      [65_536, true],
      [65_536, true],
      [3_392, false],
      [16_384, false],
    ]);
    expect(lines.at(-1)?.text.slice(-3)).toBe('y😀');
  });

  test('a line arrives within moments while the container runs', async () => {
    const id = await startShell(docker, labels, 'echo first; sleep 30; echo second');
    const stop = new AbortController();
    const first = deferred<LogChunk>();
    const collected = collector(id, { publish: async (chunk) => first.resolve(chunk) }, stop.signal);
    const { lines } = await first.promise;
    expect(parseLines(await unpackLines(lines), 1, 1)).toMatchObject([{ text: 'first' }]);
    stop.abort(new Error('enough'));
    await expect(collected).rejects.toThrow('enough');
  });

  test('a second reader gives the same lines the same numbers, and sends only those that are not stored', async () => {
    const id = await startShell(docker, labels, 'seq 1 1000; head -c 100000 /dev/zero | tr "\\0" x; echo; echo end');
    const whole = await collector(id, { linesBefore: 10 });
    const stored = whole.lines.filter(({ number }) => number <= 600);
    const rest = await collector(id, { linesBefore: 10 }, undefined, { stored });
    expect(rest.lines).toEqual(whole.lines.filter(({ number }) => number > 600));
    expect(rest.writer.lastNumber).toBe(whole.writer.lastNumber);
  });

  test('beyond its maximum of bytes the log says that it was cut, and the container is followed to its end', async () => {
    const id = await startShell(docker, labels, 'seq 1 100000; echo err >&2; exit 3');
    const bytesMax = 10_000;
    const whole = await collector(id, { linesBefore: 10, bytesMax });
    const kept = linesWithin(bytesMax);
    expect(whole.state).toMatchObject({ status: 'ended', exitCode: 3 });
    expect(whole.texts.slice(0, -1)).toEqual(Array.from({ length: kept }, (_, n) => String(n + 1)));
    expect(whole.lines.at(-1)).toMatchObject({
      number: 10 + kept + 1,
      stream: 'STDERR',
      source: 'SYSTEM',
      continues: false,
      text: 'The log was cut here: 10,000 bytes of it are kept at most. What printed it goes on, and nothing more of that is kept.',
    });
    expect(whole.writer.lastNumber).toBe(10 + kept + 1);
    // A worker that reads the log again cuts it at the same line, wherever the stored part ends.
    for (const storedNumber of [10 + 5, 10 + kept, 10 + kept + 1]) {
      const stored = whole.lines.filter(({ number }) => number <= storedNumber);
      const rest = await collector(id, { linesBefore: 10, bytesMax }, undefined, { stored });
      expect(rest.lines).toEqual(whole.lines.filter(({ number }) => number > storedNumber));
      expect(rest.writer.lastNumber).toBe(whole.writer.lastNumber);
    }
    const stored = whole.lines.slice(0, -1);
    const lowered = await collector(id, { linesBefore: 10, bytesMax: 1_000 }, undefined, { stored });
    expect(lowered.lines).toMatchObject([
      { number: 10 + kept + 1, source: 'SYSTEM', text: expect.stringMatching(/^The log was cut here: 1,000 bytes/) },
    ]);
  });

  test('a line cut by the maximum ends before the line that reports the cut, on both streams', async () => {
    const long = (letter: string) => `head -c 100000 /dev/zero | tr "\\0" ${letter}`;
    const id = await startShell(
      docker,
      labels,
      `(${long('e')}; sleep 1; ${long('e')}) >&2 & ${long('o')}; sleep 1; ${long('o')}`,
    );
    const { lines } = await collector(id, { bytesMax: 150_000 });
    const piece = { continues: true, text: expect.stringMatching(/^(o{65536}|e{65536})$/) };
    expect(lines).toMatchObject([
      piece,
      piece,
      { text: '' },
      { text: '' },
      { stream: 'STDERR', source: 'SYSTEM', text: expect.stringMatching(/^The log was cut/) },
    ]);
    for (const stream of ['STDOUT', 'STDERR'])
      expect(
        lines
          .filter((line) => line.stream === stream)
          .map(({ continues }) => continues)
          .slice(0, 2),
      ).toEqual([true, false]);
  });

  /** The number of lines of seq that fit, each with its flag, timestamp, space and newline. */
  function linesWithin(bytesMax: number): number {
    let bytes = 0;
    for (let n = 1; ; n++) {
      bytes += 1 + 30 + 1 + String(n).length + 1;
      if (bytes > bytesMax) return n - 1;
    }
  }

  test('while chunks cannot be passed on, reading waits; then all lines are complete', async () => {
    const id = await startShell(docker, labels, 'seq 1 200000');
    const chunks: LogChunk[] = [];
    const opened = deferred<void>();
    const begun = deferred<void>();
    let asked = 0;
    const publish = async (chunk: LogChunk) => {
      asked += 1;
      begun.resolve();
      await opened.promise;
      chunks.push(chunk);
    };
    const collected = collector(id, { publish });
    await begun.promise;
    await docker.waitContainer(id, { timeoutMs: 20_000, signal: new AbortController().signal });
    expect(asked).toBe(1);
    opened.resolve();
    const { writer } = await collected;
    expect(writer.lastNumber).toBe(200_000);
    let next = 1;
    for (const { firstNumber, lastNumber } of chunks) {
      expect(firstNumber).toBe(next);
      next = lastNumber + 1;
    }
    expect(next).toBe(200_001);
  });

  test('a container that another client removes ends its collection without a state', async () => {
    const id = await startShell(docker, labels, 'echo up; sleep 60');
    const printed = deferred<void>();
    const collected = collector(id, { publish: async () => printed.resolve() });
    await printed.promise;
    await docker.removeContainer(id, { force: true });
    expect((await collected).state).toBeUndefined();
  });
});

/** What a worker reads of a store that has these lines. */
function storedLog(lines: LogLine[]): Promise<StoredLog> {
  const text = lines.map((line) => formatLine(line.stream, line.timestamp, line.text, line)).join('');
  const [firstNumber = 1, lastNumber = 0] = [lines[0]?.number, lines.at(-1)?.number];
  const chunk = { sourceId: 'test', attempt: 1, firstNumber, lastNumber, lines: Buffer.from(text) };
  return readStoredLog(1, async (after) => (after < lastNumber ? [chunk] : []));
}

function deferred<T>() {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
