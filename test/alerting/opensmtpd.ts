import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished } from 'vitest';
import { reportMissing } from '../support/parts.ts';
import { steadyPort } from '../support/ports.ts';

const run = promisify(execFile);
const PROGRAM = '/usr/sbin/smtpd';
/**
 * The program has fixed places for its queue and its socket. In a mount namespace of its own, it
 * sees empty ones, and a mail server of this machine keeps those that it has.
 */
const PRIVATE = ['--mount', '--propagation', 'private', 'sh', '-c'];
const MOUNTS = 'mount -t tmpfs tmpfs /var/spool && mount -t tmpfs tmpfs /run';

/** Whether this machine can run an OpenSMTPD of a test. If not, reports what is left untested. */
export async function hasOpenSmtpd(untested: string): Promise<boolean> {
  const isHere = await access(PROGRAM).then(
    () => true,
    () => false,
  );
  const mayMount = await run('unshare', [...PRIVATE, MOUNTS]).then(
    () => true,
    () => false,
  );
  if (isHere && mayMount) return true;
  const what = isHere ? 'root, for a mount namespace of OpenSMTPD' : `OpenSMTPD (${PROGRAM})`;
  reportMissing(what, untested, 'opensmtpd');
  return false;
}

/** Starts a relay on loopback that passes all mail on to `port`. Returns its own port. */
export async function openSmtpd({ port: to }: { port: number }): Promise<{ port: number; output(): string }> {
  const folder = await mkdtemp(join(tmpdir(), 'chronoverse-smtpd-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const port = await steadyPort();
  const config = join(folder, 'smtpd.conf');
  await writeFile(
    config,
    [
      `listen on 127.0.0.1 port ${port} hostname relay.test`,
      `action "relay" relay host "smtp://127.0.0.1:${to}" helo relay.test`,
      'match from any for any action "relay"\n',
    ].join('\n'),
  );
  const child = spawn('unshare', [...PRIVATE, `${MOUNTS} && exec ${PROGRAM} -d -v -f '${config}'`]);
  const ended = once(child, 'close');
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
    });
  onTestFinished(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  await expect
    .poll(() => greetingOf(port), { message: 'the greeting of OpenSMTPD' })
    .toMatch(/^220 relay\.test ESMTP OpenSMTPD/);
  return { port, output: () => output };
}

function greetingOf(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', (error) => resolve(error.message));
    socket.once('data', (data) => {
      resolve(data.toString());
      socket.end('QUIT\r\n');
    });
  });
}
