import { afterEach, describe, expect, test } from 'vitest';
import { requirePart } from '../support/parts.ts';
import { hasCommand, type OwnServer, ownEngine } from '../support/servers.ts';
import { type Installation, openInstallation, storedTexts } from '../workflow-worker/support.ts';

const LINES = 50_000;
const local = ['--log-driver', 'local'];
const option = (text: string) => ['--log-opt', text];

const untested = 'the log drivers and options that an engine has by default';
const isHere = requirePart('docker', untested) !== undefined && process.getuid?.() === 0;
const canStart = isHere && (await hasCommand('dockerd', untested));
describe.skipIf(!canStart)('whatever an engine does with logs by default, a job keeps every line', () => {
  let engine: OwnServer | undefined;
  let here: Installation | undefined;
  afterEach(async () => {
    await here?.close();
    await engine?.close();
  });

  test.each([
    ['local that drops lines', [...local, ...option('mode=non-blocking')]],
    [
      'local that drops lines, with a size',
      [...local, ...option('mode=non-blocking'), ...option('max-buffer-size=4k')],
    ],
    [
      'local in small files',
      [...local, ...option('max-size=10k'), ...option('max-file=3'), ...option('compress=true')],
    ],
    [
      'json-file in one small file that drops lines',
      [...option('mode=non-blocking'), ...option('max-buffer-size=4k'), ...option('max-size=1k'), ...option('tag=x')],
    ],
    ['json-file with labels', [...option('labels=a,b'), ...option('env=PATH'), ...option('mode=non-blocking')]],
    ['no log', ['--log-driver', 'none']],
    [
      'syslog',
      ['--log-driver', 'syslog', ...option('syslog-address=udp://127.0.0.1:9'), ...option('cache-disabled=true')],
    ],
    ['fluentd', ['--log-driver', 'fluentd', ...option('fluentd-address=127.0.0.1:9'), ...option('mode=non-blocking')]],
    ['journald', ['--log-driver', 'journald']],
  ])('%s', async (_name, options) => {
    engine = await ownEngine({ liveRestore: false, options });
    await engine.start();
    here = await openInstallation(engine.address);
    await here.start();
    const script = `seq 1 ${LINES}; echo "the last, é" >&2`;
    const { id } = await here.create({ command: ['sh', '-c'], args: [script], network: 'NONE' });
    const job = await here.job(id, 'COMPLETED');
    const texts = await storedTexts(here.database.db, job.id);
    expect(texts.filter((text) => /^\d+$/.test(text))).toEqual(Array.from({ length: LINES }, (_, n) => `${n + 1}`));
    expect(texts).toContain('the last, é');
    expect(texts).toHaveLength(LINES + 1);
  });
});
