import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import type { CheckResult } from '../../workers/execution/check.ts';
import { outcome } from './support.ts';

test('a check on a machine without a free file descriptor blames the machine, and still knows the hosts file that it has read', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'chronoverse-files-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const hostsFile = join(folder, 'hosts');
  await writeFile(hostsFile, '127.0.0.1 here.test\n');
  const script = 'ulimit -n 1000; exec node --import tsx test/heartbeat/without-files.ts "$1"';
  const { stdout } = await promisify(execFile)('bash', ['-c', script, 'checks', hostsFile]);
  const results: CheckResult[] = JSON.parse(stdout);
  expect(results.map(outcome)).toEqual([
    expect.stringMatching(/^SYSTEM: No connection to \S+: EMFILE\. .* The fault is this machine's\.$/),
    expect.stringMatching(/^SYSTEM: No connection to \S+: EMFILE\. .* The fault is this machine's\.$/),
    expect.stringMatching(/^SYSTEM: The check itself failed: EMFILE: /),
    expect.stringMatching(/^SYSTEM: This machine can open no socket \(EMFILE\)\. gone\.test could not be resolved/),
    expect.stringMatching(/^SYSTEM: This machine can open no socket \(EMFILE\)\. At 127\.0\.0\.1:9, gone\.test/),
    'ok',
  ]);
});
