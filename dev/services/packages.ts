/** Installs Debian packages whose commands are missing, without starting their servers. */
import { access, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Needed } from './parts.ts';
import { run } from './process.ts';
import { isErrno } from './state.ts';

const SYSTEM_DIRS = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin'];
const APT_MS = 600_000;
const POLICY_FILE = '/usr/sbin/policy-rc.d';

/** Includes the folders of servers, which the PATH of an ordinary user lacks. */
export const searchPath = [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_DIRS].join(delimiter);

export async function findCommand(command: string): Promise<string | undefined> {
  for (const dir of searchPath.split(delimiter)) {
    const path = join(dir, command);
    if (await isThere(path)) return path;
  }
  return undefined;
}

export async function requireCommand(command: string): Promise<string> {
  const path = await findCommand(command);
  if (!path) throw new Error(`The command ${command} is missing.`);
  return path;
}

/** Installs what is missing in one call: two apt-gets at once would fail on each other's lock. */
export async function installMissing(needs: Needed[]): Promise<string[]> {
  const missing: Needed[] = [];
  for (const need of needs) if (!(await findCommand(need.command))) missing.push(need);
  const packages = [...new Set(missing.map((need) => need.debianPackage))];
  if (packages.length === 0) return [];

  const apt = await findCommand('apt-get');
  if (!apt || process.getuid?.() !== 0) {
    const commands = missing.map((need) => need.command).join(', ');
    throw new Error(`${commands} missing: install Debian's ${packages.join(', ')} (as root), or run this as root.`);
  }
  await withoutServiceStarts(async () => {
    const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, timeout: APT_MS };
    await run(apt, ['-qq', 'update'], options);
    await run(apt, ['-qq', '-y', '--no-install-recommends', 'install', ...packages], options);
  });
  return packages;
}

/**
 * The installation of a server package starts the server on its usual port. policy-rc.d is Debian's
 * way to prevent that.
 */
async function withoutServiceStarts(work: () => Promise<void>): Promise<void> {
  let written = false;
  try {
    await writeFile(POLICY_FILE, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' });
    written = true;
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error; // a policy exists already, and it applies
  }
  try {
    await work();
  } finally {
    if (written) await rm(POLICY_FILE, { force: true });
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
