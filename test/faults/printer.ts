import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import type { LogLine } from '../../domain/logs/line.ts';
import { createEngine } from '../../platform/docker/engine.ts';
import { containerName } from '../../workers/workflow/jobs/container.ts';

/**
 * Prints numbered lines on both streams, about 2,000 per second, until it gets SIGUSR1. Then it
 * prints their number and exits with `exitCode`. So the expected lines of the log are known without
 * another record. With `waits`, it prints one line on each stream at once and continues at a first
 * SIGUSR1.
 */
export function printer(exitCode: number, { pairs = 50, waits = false } = {}): { command: string[] } {
  const script = `signals=${waits ? 0 : 1}
trap 'signals=$((signals+1))' USR1
i=1; echo "out 1"; echo "err 1" >&2
while [ $signals -lt 1 ]; do sleep 0.1; done
while [ $signals -lt 2 ]; do
  n=0
  while [ $n -lt ${pairs} ]; do i=$((i+1)); n=$((n+1)); echo "out $i"; echo "err $i" >&2; done
  sleep 0.05
done
echo "out end $i"; echo "err end $i" >&2
exit ${exitCode}`;
  return { command: ['sh', '-c', script] };
}

/** Sends SIGUSR1 to the container of the job's attempt. */
export async function tell(dockerHost: string | undefined, jobId: string, attempt = 1): Promise<void> {
  const path = `/containers/${containerName({ id: jobId, attempt })}/kill`;
  await createEngine({ host: dockerHost }).call({ method: 'POST', path, query: { signal: 'USR1' } });
}

/**
 * Fails unless these are all the lines of such a container: of the first attempt, numbered without
 * gaps, and each stream in order.
 */
export function expectWhole(lines: Pick<LogLine, 'number' | 'stream' | 'text' | 'attempt'>[]): void {
  const gap = lines.findIndex(({ number }, index) => number !== index + 1);
  expect(gap === -1 ? 'no gap' : lines.slice(Math.max(0, gap - 2), gap + 3)).toBe('no gap');
  expect(new Set(lines.map(({ attempt }) => attempt))).toEqual(new Set([1]));
  expectStream(
    'out',
    lines.flatMap(({ stream, text }) => (stream === 'STDOUT' ? [text] : [])),
  );
  expectStream(
    'err',
    lines.flatMap(({ stream, text }) => (stream === 'STDERR' ? [text] : [])),
  );
}

/** Reports only the first wrong line, because a diff of a million lines is unreadable. */
export function expectStream(name: 'out' | 'err', texts: string[]): void {
  const count = texts.length - 1;
  const wrong = texts.findIndex(
    (text, index) => text !== (index < count ? `${name} ${index + 1}` : `${name} end ${count}`),
  );
  expect(wrong === -1 ? 'as printed' : { at: wrong + 1, stored: texts.slice(Math.max(0, wrong - 2), wrong + 3) }).toBe(
    'as printed',
  );
  expect(count).toBeGreaterThan(0);
}

const NOISE_LINE_BYTES = 1_000;

/**
 * Prints `begin`, waits for SIGUSR1, then prints `lineCount` incompressible lines at once and their
 * checksum. A process that buffers them shows it in its memory.
 */
export function noise(lineCount: number, exitCode: number): { command: string[] } {
  const script = `trap go=1 USR1
head -c ${(lineCount * NOISE_LINE_BYTES * 3) / 4} /dev/urandom | base64 -w ${NOISE_LINE_BYTES} > /tmp/noise
echo begin
while [ -z "$go" ]; do sleep 0.1; done
cat /tmp/noise
md5sum < /tmp/noise
exit ${exitCode}`;
  return { command: ['sh', '-c', script] };
}

export function expectNoise(lines: Pick<LogLine, 'number' | 'text'>[], lineCount: number): void {
  expect(lines).toHaveLength(lineCount + 2);
  expect(lines.findIndex(({ number }, index) => number !== index + 1)).toBe(-1);
  const hash = createHash('md5');
  for (const { text } of lines.slice(1, -1)) hash.update(`${text}\n`);
  expect(lines.at(-1)?.text).toBe(`${hash.digest('hex')}  -`);
}
