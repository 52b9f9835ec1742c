import { meantFor } from '../domain/suggest.ts';
import { StartupError } from './startup-error.ts';
import { parseUsers, type UsersAction } from './users-arguments.ts';
import { listOf } from './words.ts';

export const WORKERS = ['scheduling', 'workflow', 'execution', 'joblogs'] as const;
export type WorkerName = (typeof WORKERS)[number];

export type Command =
  | { name: 'up' | 'api' | 'migrate' | 'rotate-secrets' | 'doctor' | 'help' | 'version' }
  | { name: 'worker'; workers: WorkerName[] }
  | { name: 'users'; action: UsersAction }
  | { name: 'demo'; once: boolean };

const NAMES = [
  'up',
  'api',
  'worker',
  'migrate',
  'rotate-secrets',
  'users',
  'doctor',
  'demo',
  '--help',
  '--version',
] as const;

/**
 * The command that the arguments name. Throws a StartupError that suggests the nearest right word.
 */
export function parseCommand(args: readonly string[]): Command {
  const [name, ...rest] = args;
  if (name === undefined)
    throw new StartupError(`A command is missing: one of ${listOf(NAMES)}. For example: chronoverse up`);
  if (rest.includes('--help') || rest.includes('-h')) return { name: 'help' };
  switch (name) {
    case '--help':
    case '-h':
    case 'help':
      return { name: 'help' };
    case '--version':
    case '-v':
      return { name: 'version' };
    case 'up':
    case 'api':
    case 'migrate':
    case 'rotate-secrets':
    case 'doctor':
      refuseMore(name, rest);
      return { name };
    case 'worker':
      return { name, workers: parseWorkers(rest) };
    case 'users':
      return { name, action: parseUsers(rest) };
    case 'demo':
      refuseMore(name, rest, ['--once']);
      return { name, once: rest.includes('--once') };
    default:
      throw new StartupError(`"${name}" is no command${meantFor(name, NAMES)} There are ${listOf(NAMES)}.`);
  }
}

function parseWorkers(names: string[]): WorkerName[] {
  if (names.length === 0) {
    throw new StartupError(
      `The name of a worker is missing: one or several of ${listOf(WORKERS)}. For example: worker execution`,
    );
  }
  const workers = names.map((name) => {
    const worker = WORKERS.find((candidate) => candidate === name);
    if (worker === undefined)
      throw new StartupError(`"${name}" is no worker${meantFor(name, WORKERS)} There are ${listOf(WORKERS)}.`);
    return worker;
  });
  return WORKERS.filter((worker) => workers.includes(worker)); // each once
}

function refuseMore(command: string, rest: string[], allowed: string[] = []): void {
  const odd = rest.find((argument) => !allowed.includes(argument));
  if (odd === undefined) return;
  const takes = allowed.length === 0 ? 'takes no argument' : `takes ${listOf(allowed)} alone`;
  throw new StartupError(
    `"${odd}" is not understood: ${command} ${takes}; settings are environment variables (--help lists them).`,
  );
}
