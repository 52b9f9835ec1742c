import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogChunk } from '../../domain/logs/chunk.ts';
import { parseLines } from '../../domain/logs/decode.ts';
import type { LogLine } from '../../domain/logs/line.ts';
import { unpackLines } from '../../domain/logs/packing.ts';
import type { Docker } from '../../platform/docker/docker.ts';
import { createChunkWriter } from '../../workers/shared/log-collector/chunk-writer.ts';
import { collectLog } from '../../workers/shared/log-collector/collector.ts';
import { readStoredLog } from '../../workers/shared/log-collector/stored-log.ts';
import { GO, UNTIL_LET_GO } from '../support/gate.ts';
import { quiet } from '../support/workers.ts';
import { dockerHost, IMAGE, openDocker, removeAll, runLabel } from './support.ts';

/** Sixty bytes a line, on both streams at once. */
const BOTH_STREAMS = (lines: number) => `
  print() { awk -v name=$1 'BEGIN { for (i = 1; i <= ${lines}; i++) printf "%s %d, and what makes it as long as many lines are\\n", name, i }'; }
  print err >&2 & print out; wait`;

/** A process that the test stands still for. */
const WHILE_BLOCKED = fileURLToPath(new URL('while-blocked.js', import.meta.url));
/** More than engines wait for what a container printed last. */
const STANDSTILL_MS = 2_500;

const host = dockerHost('what containers print, read live');
describe.skipIf(host === undefined)('the live output of a real container', () => {
  const labels = runLabel();
  let docker: Docker;
  beforeAll(() => {
    docker = openDocker(host);
  });
  afterAll(() => removeAll(docker, labels));

  /**
   * Starts a container and collects what it prints. `publish` may delay chunks. They count as
   * stored when it resolves. Aborting `leave`
   * breaks the connection.
   */
  async function collect(
    script: string,
    {
      publish = async () => undefined,
      leave = new AbortController(),
    }: { publish?: (chunk: LogChunk) => Promise<void>; leave?: AbortController } = {},
  ) {
    const id = await docker.createContainer({
      name: `chronoverse-test-${process.pid}-${Math.random().toString(36).slice(2)}`,
      image: IMAGE,
      entrypoint: ['sh', '-c'],
      args: [script],
      labels,
    });
    const output = await docker.attachOutput(id, { signal: leave.signal });
    output.on('error', () => undefined);
    await docker.startContainer(id);
    const stored: LogChunk[] = [];
    const writer = createChunkWriter({
      sourceId: 'test',
      attempt: 1,
      linesBefore: 0,
      publish: async (chunk) => {
        await publish(chunk);
        stored.push(chunk);
      },
    });
    let resumed = 0;
    const resume = async () => {
      await writer.end();
      resumed += 1;
      writer.resume(await readStoredLog(1, async (after) => stored.filter(({ lastNumber }) => lastNumber > after)));
      return writer;
    };
    const { signal } = new AbortController();
    const collecting = collectLog({ docker, containerId: id, writer, log: quiet, signal, live: { output, resume } });
    const lines = async () => {
      const { state, isLate } = await collecting;
      await writer.end();
      const parsed = stored.map(async (one) => parseLines(await unpackLines(one.lines), one.firstNumber, 1));
      return { state, isLate, lines: (await Promise.all(parsed)).flat(), resumed };
    };
    return { id, lines };
  }

  function expectBoth(lines: LogLine[], count: number): void {
    expect(lines.findIndex(({ number }, index) => number !== index + 1)).toBe(-1);
    for (const [stream, name] of [
      ['STDOUT', 'out'],
      ['STDERR', 'err'],
    ]) {
      const texts = lines.filter((line) => line.stream === stream).map(({ text }) => text);
      expect(texts).toHaveLength(count);
      expect(texts.findIndex((text, index) => !text.startsWith(`${name} ${index + 1},`))).toBe(-1);
    }
  }

  test('is whole, on both streams, to the last line of a container that prints much and exits at once', async () => {
    const { lines } = await collect(`${BOTH_STREAMS(40_000)}; printf "no newline"; exit 3`);
    const collected = await lines();
    expect(collected).toMatchObject({ resumed: 0, state: { status: 'ended', exitCode: 3 } });
    expect(collected.lines.at(-1)?.text).toBe('no newline');
    expectBoth(collected.lines.slice(0, -1), 40_000);
  });

  test('is the log, byte by byte: NUL, invalid UTF-8, CRLF, long lines in pieces', async () => {
    const script = [
      'printf "a\\000b\\r\\n\\n\\377\\n"',
      'head -c 200000 /dev/zero | tr "\\0" x; echo',
      'head -c 16382 /dev/zero | tr "\\0" y; printf "\\360\\237\\230\\200\\n"',
      'head -c 65536 /dev/zero | tr "\\0" z; echo; echo end',
    ].join('; ');
    const live = await collect(script);
    const { lines } = await live.lines();
    const fromLog: string[] = [];
    const writer = createChunkWriter({
      sourceId: 'test',
      attempt: 1,
      linesBefore: 0,
      publish: async ({ lines: packed }) => {
        for (const { text } of parseLines(await unpackLines(packed), 1, 1)) fromLog.push(text);
      },
    });
    await collectLog({ docker, containerId: live.id, writer, log: quiet, signal: new AbortController().signal });
    await writer.end();
    expect(lines.map(({ text }) => text)).toEqual(fromLog);
    expect(lines.slice(0, 3).map(({ text }) => text)).toEqual(['a\0b\r', '', '\ufffd']);
  });

  test('P4: says that lines may be missing when this process stood still at the end, and the engine had more than it keeps', async () => {
    // 1.06 MB: the engine keeps 1 MB, and pipes the rest, so that the container ends.
    const printed = [17_000, 5_000];
    const scripts = printed.map(
      (lines) =>
        `${UNTIL_LET_GO}; awk 'BEGIN { for (i = 1; i <= ${lines}; i++) printf "out %d, and what makes it as long as many lines are, sixty.\\n", i }'`,
    );
    const collected = await Promise.all(scripts.map((script) => collect(script)));
    // As SIGSTOP does, from before they print until long after.
    execFileSync(process.execPath, [WHILE_BLOCKED, String(STANDSTILL_MS), ...collected.map(({ id }) => id)], {
      input: GO,
      env: { ...process.env, DOCKER_HOST: host },
      timeout: 40_000,
    });
    const [much, little] = await Promise.all(collected.map(({ lines }) => lines()));
    expect(much).toMatchObject({ isLate: true, resumed: 0 });
    expect(little).toMatchObject({ isLate: false, resumed: 0 });
    expect(little?.lines).toHaveLength(5_000);
  });

  test('is left when its connection breaks, and nothing is missing or repeated', async () => {
    const leave = new AbortController();
    const { lines } = await collect(BOTH_STREAMS(40_000), { publish: async () => leave.abort(), leave });
    const collected = await lines();
    expect(collected.resumed).toBe(1);
    expectBoth(collected.lines, 40_000);
  });

  test('is left when lines cannot be passed on: the container does not wait, and nothing is missing or repeated', async () => {
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const { id, lines } = await collect(BOTH_STREAMS(40_000), { publish: () => opened });
    await docker.waitContainer(id, { timeoutMs: 20_000, signal: new AbortController().signal });
    expect((await docker.inspectContainer(id))?.status).toBe('ended'); // it printed 5 MB
    open();
    const collected = await lines();
    expect(collected.resumed).toBe(1);
    expectBoth(collected.lines, 40_000);
  });
});
