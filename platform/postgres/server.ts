import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Logger } from 'pino';
import { defaultDeadline, settledBefore, withDeadline } from '../async/deadline.ts';
import type { Launcher } from './launcher.ts';

/**
 * After a crash, the recovery of a large database takes a while. A start that takes longer than
 * this hangs.
 */
const READY_MS_MAX = 300_000;
const TAIL_LINES_MAX = 20;

/** One run of the server program. */
export interface Server {
  /** Resolves with its last lines of output, however it ends. */
  ended: Promise<string>;
  /**
   * Ends sessions and writes a checkpoint. At the deadline, the server stops at once, and recovers
   * at its next start.
   */
  stop(deadline: AbortSignal): Promise<void>;
}

/**
 * Starts the server on `port` of loopback, and resolves when it accepts connections. It runs in a
 * session of its own, so that a Ctrl-C in the terminal does not reach it: it must not stop before
 * this process has. Full durability is on, which is PostgreSQL's default.
 */
export async function startServer(options: {
  folder: string;
  program: string;
  port: number;
  launcher: Launcher;
  log: Logger;
}): Promise<Server> {
  const { folder, program, port, launcher, log } = options;
  const { file, args, options: as } = launcher.command(program, ['-D', folder, ...settings(port)]);
  const child = spawn(file, args, { ...as, detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
  const tail: string[] = [];
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(String(error)));
    child.once('close', () => resolve(tail.join('\n')));
  });
  const ready = new Promise<'ready'>((resolve) => {
    if (child.stderr === null) return;
    createInterface({ input: child.stderr }).on('line', (line) => {
      tail.push(line);
      if (tail.length > TAIL_LINES_MAX) tail.shift();
      logLine(log, line);
      if (line.includes('ready to accept connections')) resolve('ready');
    });
  });
  const stop = (deadline: AbortSignal) => stopServer(child, ended, deadline);
  const late = `It is not ready after ${READY_MS_MAX / 1000} seconds.`;
  const outcome = await withDeadline(Promise.race([ready, ended]), READY_MS_MAX, late).catch(messageOf);
  if (outcome === 'ready') return { ended, stop };
  await stop(defaultDeadline());
  throw new Error(`The embedded PostgreSQL did not start. It said:\n${outcome}`);
}

function settings(port: number): string[] {
  const values = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '', // a path in a deep DATA_DIR is too long for a socket
    max_connections: 60,
    shared_buffers: '128MB',
    dynamic_shared_memory_type: 'posix',
    // Statements are short. A parallel one needs more /dev/shm than a container has.
    max_parallel_workers_per_gather: 0,
    jit: 'off',
    lc_messages: 'C',
    log_timezone: 'UTC',
    timezone: 'UTC',
    log_line_prefix: '',
    log_min_error_statement: 'panic', // statements contain users' data
    cluster_name: 'chronoverse',
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/**
 * ERROR and FATAL go to the debug log: the sender of a statement handles its ERROR, and a FATAL
 * ends only one session.
 */
function logLine(log: Logger, line: string): void {
  if (line.startsWith('PANIC:')) log.error(line);
  else if (line.startsWith('WARNING:')) log.warn(line);
  else log.debug(line);
}

async function stopServer(child: ChildProcess, ended: Promise<string>, deadline: AbortSignal): Promise<void> {
  child.kill('SIGINT');
  if (await settledBefore(ended, deadline)) return;
  child.kill('SIGQUIT');
  await ended;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
