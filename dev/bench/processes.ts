import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';
import { z } from 'zod';

const READY_MS = 60_000;

export interface BenchProcess {
  /** The URL in the ready line; only the api has one. */
  url: string;
  /** The seconds of CPU that it has used so far. */
  cpuSeconds(): Promise<number>;
  /** The peak of its memory. */
  peakBytes(): Promise<number>;
  /**
   * The memory that it needs: heap and buffers after garbage collection. Only for a process that
   * was started with `inspect`.
   */
  neededBytes(): Promise<number>;
  stop(): Promise<void>;
}

export async function startWorker(name: string, env: Record<string, string>): Promise<BenchProcess> {
  return startProcess(['worker', name], env);
}

/**
 * Starts a real process of the program and waits until it is ready. Passes on its standard error.
 */
export async function startProcess(
  args: string[],
  env: Record<string, string>,
  { inspect = false } = {},
): Promise<BenchProcess> {
  return start(['bin/chronoverse.js', ...args], { LOG_FORMAT: 'json', LOG_LEVEL: 'info', ...env }, { inspect });
}

/** Starts a script of TypeScript that says in the same way when it is ready. */
export async function startScript(path: string, env: Record<string, string>): Promise<BenchProcess> {
  return start(['--import', 'tsx', path], env, { inspect: false });
}

async function start(
  args: string[],
  env: Record<string, string>,
  { inspect }: { inspect: boolean },
): Promise<BenchProcess> {
  const child = spawn(process.execPath, [...(inspect ? ['--inspect=127.0.0.1:0'] : []), ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', inspect ? 'pipe' : 'inherit'],
  });
  const inspector = inspect ? inspectorOf(child) : undefined;
  const url = await ready(child, args.join(' '));
  return {
    url,
    cpuSeconds: () => cpuSeconds(child),
    peakBytes: () => peakBytes(child),
    neededBytes: async () => neededBytes((await inspector) ?? ''),
    async stop() {
      if (child.exitCode === null) {
        child.kill('SIGTERM');
        await once(child, 'exit');
      }
    },
  };
}

async function ready(child: ChildProcess, name: string): Promise<string> {
  const { stdout } = child;
  if (stdout === null) throw new Error('The output is not piped.');
  return new Promise<string>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${name} was not ready in ${READY_MS / 1_000} s.`)), READY_MS);
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}.`)));
    createInterface({ input: stdout }).on('line', (line) => {
      if (line.includes('"event":"ready"')) {
        clearTimeout(late);
        resolve(/"url":"([^"]*)"/.exec(line)?.[1] ?? '');
      } else if (/"level":"?(40|50|60|warn|error|fatal)/.test(line)) console.error(line);
    });
  });
}

/**
 * Linux only. Fields 14 and 15 of /proc/PID/stat (proc(5)) are user and system time in ticks of
 * 1/100 s.
 */
async function cpuSeconds({ pid }: ChildProcess): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function peakBytes({ pid }: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) * 1_024;
}

/** The address that Node's inspector prints. */
async function inspectorOf({ stderr }: ChildProcess): Promise<string> {
  if (stderr === null) throw new Error('The errors are not piped.');
  return new Promise((resolve) => {
    createInterface({ input: stderr }).on('line', (line) => {
      const address = /Debugger listening on (ws:\S+)/.exec(line)?.[1];
      if (address !== undefined) resolve(address);
      else if (!/inspector/.test(line)) console.error(line);
    });
  });
}

async function neededBytes(inspector: string): Promise<number> {
  const socket = new WebSocket(inspector);
  await once(socket, 'open');
  const call = async (id: number, method: string, params: object = {}) => {
    const answer = once(socket, 'message');
    socket.send(JSON.stringify({ id, method, params }));
    return JSON.parse(String((await answer)[0]));
  };
  try {
    await call(1, 'HeapProfiler.collectGarbage');
    const expression = 'const { heapUsed, external } = process.memoryUsage(); heapUsed + external';
    const { result } = await call(2, 'Runtime.evaluate', { expression: `{ ${expression} }` });
    return z.object({ result: z.object({ value: z.number() }) }).parse(result).result.value;
  } finally {
    socket.close();
  }
}
