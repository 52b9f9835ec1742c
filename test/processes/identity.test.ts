import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { hasEnded, processIdentity, processName } from '../../platform/process-identity.ts';

describe('the name of a process', () => {
  let child: ChildProcess | undefined;
  afterEach(() => child?.kill('SIGKILL'));

  async function nameOf(pid: number): Promise<string> {
    const [host, space] = (await processName()).split(' ');
    return `${host} ${space} ${pid} ${await processIdentity(pid)}`;
  }

  async function sleeper(): Promise<{ pid: number; name: string }> {
    child = spawn('sleep', ['60'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    return { pid, name: await nameOf(pid) };
  }

  test('P4: says that the process has ended if it was killed, and not while it is stopped', async () => {
    const { name } = await sleeper();
    child?.kill('SIGSTOP');
    expect(await hasEnded(name)).toBe(false);
    child?.kill('SIGKILL');
    await once(child as ChildProcess, 'close');
    expect(await hasEnded(name)).toBe(true);
    expect(await hasEnded(await processName())).toBe(false);
  });

  test('says that the process has ended if its number belongs to another one', async () => {
    const { name } = await sleeper();
    expect(await hasEnded(`${name}0`)).toBe(true);
  });

  test('says nothing about another machine or container, or about an invalid name', async () => {
    const [host, space, , identity] = (await processName()).split(' ');
    for (const foreign of [`other ${space} 1 ${identity}`, `${host} pid:[1] 1 ${identity}`, 'test', ''])
      expect(await hasEnded(foreign)).toBe(false);
  });
});
