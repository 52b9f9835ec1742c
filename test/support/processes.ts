import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { SETTINGS } from '../../platform/settings/settings.ts';

// Only a deadline: on a busy machine, a new PostgreSQL alone takes twenty seconds.
const READY_MS_MAX = 90_000;
const EXIT_MS_MAX = 40_000;
const ANSWER_MS_MAX = 30_000;

export type LogLine = Record<string, unknown>;

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** The real executable, started as an operator starts it. */
export interface Running {
  pid: number;
  /** The lines that it has logged so far. */
  log: readonly LogLine[];
  /** Its whole output so far. */
  output(): string;
  /** The first line that `matches`. Rejects if the process ends or the deadline passes first. */
  line(matches: (line: LogLine) => boolean, what: string): Promise<LogLine>;
  /** The URL of the ready line. */
  ready(): Promise<string>;
  kill(signal: NodeJS.Signals): Promise<Exit>;
  exit(): Promise<Exit>;
}

const started = new Set<ChildProcess>();
const folders = new Set<string>();

/** A new folder, removed by `cleanUp`. */
export async function tempFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'chronoverse-process-'));
  folders.add(folder);
  return folder;
}

/**
 * Kills what a test has left running, so that a failed test does not disturb the next one, and
 * removes its folders.
 */
export async function cleanUp(): Promise<void> {
  const left = [...started];
  started.clear();
  for (const child of left) child.kill('SIGKILL');
  await Promise.all(left.map((child) => exitOf(child)));
  for (const folder of folders) await removeSoon(folder);
  folders.clear();
}

/**
 * Starts `chronoverse ARGS` with only the settings in `env`; it does not inherit the settings of
 * this run. `input` is its standard input.
 */
export function startProcess(args: string[], env: Record<string, string>, { input }: { input?: string } = {}): Running {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !(name.replace(/_FILE$/, '') in SETTINGS) && name !== 'NODE_OPTIONS',
  );
  const child = spawn(process.execPath, ['bin/chronoverse.js', ...args], {
    // The engine has the images that tests use, and no registry has them.
    env: { ...Object.fromEntries(inherited), LOG_FORMAT: 'json', LOCAL_IMAGES: '*', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => undefined); // the process may end without reading its input
  child.stdin.end(input);
  started.add(child);
  const log: LogLine[] = [];
  const listeners = new Set<() => void>();
  let output = '';
  const ended = exitOf(child);
  void ended.then(() => started.delete(child)).then(notify);
  createInterface({ input: child.stdout }).on('line', (line) => {
    output += `${line}\n`;
    if (line.startsWith('{')) log.push(JSON.parse(line));
    notify();
  });
  child.stderr.on('data', (chunk) => {
    output += chunk;
  });

  function notify(): void {
    for (const listener of listeners) listener();
  }

  function line(matches: (line: LogLine) => boolean, what: string): Promise<LogLine> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => finish(() => reject(new Error(`${what}: ${why}. Its output:\n${output}`)));
      const timer = setTimeout(() => fail(`not seen within ${READY_MS_MAX} ms`), READY_MS_MAX);
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        listeners.delete(look);
        settle();
      };
      const look = () => {
        const found = log.find(matches);
        if (found !== undefined) finish(() => resolve(found));
        else if (child.exitCode !== null || child.signalCode !== null) fail('the process has ended');
      };
      listeners.add(look);
      look();
    });
  }

  const exit = () => withDeadline(ended, () => `It does not end. Its output:\n${output}`);
  return {
    pid: child.pid ?? 0,
    log,
    output: () => output,
    line,
    ready: async () => String((await line(({ event }) => event === 'ready', 'the ready line')).url),
    async kill(signal) {
      child.kill(signal);
      return exit();
    },
    exit,
  };
}

const answer = z.object({ data: z.record(z.string(), z.unknown()).nullish(), errors: z.unknown().optional() });

/** Sends a GraphQL request and returns its data. */
export async function ask(
  url: string,
  query: string,
  { token, variables }: { token?: string; variables?: Record<string, unknown> } = {},
): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({ query, variables }),
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
  });
  const { data, errors } = answer.parse(await response.json());
  if (errors !== undefined) throw new Error(JSON.stringify(errors));
  return data ?? {};
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null)
      resolve({ code: child.exitCode, signal: child.signalCode });
    else child.once('close', (code, signal) => resolve({ code, signal }));
  });
}

async function withDeadline<T>(promise: Promise<T>, message: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(message())), EXIT_MS_MAX);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A killed database may still be shutting down and writing into the folder while it is removed. */
async function removeSoon(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}
