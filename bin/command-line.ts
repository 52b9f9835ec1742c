import { meantFor } from '../domain/suggest.ts';
import { StartupError } from './startup-error.ts';
import { parseUsers, type UsersAction } from './users-arguments.ts';
import { listOf } from './words.ts';

export const WORKERS = ['scheduling', 'workflow', 'execution', 'joblogs', 'alerting'] as const;
export type WorkerName = (typeof WORKERS)[number];

export type Command =
  | { name: 'up' | 'api' | 'migrate' | 'doctor' | 'version' }
  | { name: 'help'; topic?: HelpTopic | undefined }
  | { name: 'worker'; workers: WorkerName[] }
  | { name: 'users'; action: UsersAction }
  | { name: 'demo'; once: boolean }
  | { name: 'backup' | 'restore'; file: string }
  | { name: 'rotate-secrets'; forgetsLost: boolean };

/** The commands that `--help` describes. */
export const HELP_TOPICS = [
  'up',
  'api',
  'worker',
  'migrate',
  'rotate-secrets',
  'users',
  'doctor',
  'backup',
  'restore',
  'demo',
  'version',
] as const;
export type HelpTopic = (typeof HELP_TOPICS)[number];

const NAMES = [...HELP_TOPICS, '--help'] as const;

/**
 * The command that the arguments name. Throws a StartupError that suggests the nearest right word.
 */
export function parseCommand(args: readonly string[]): Command {
  const [name, ...rest] = args;
  if (name === undefined)
    throw new StartupError(`A command is missing: one of ${listOf(NAMES)}. For example: chronoverse up`);
  if (topicOf(name) && (rest.includes('--help') || rest.includes('-h'))) return { name: 'help', topic: topicOf(name) };
  switch (name) {
    case '--help':
    case '-h':
    case 'help':
      return { name: 'help', topic: topicOf(rest[0]) };
    case '--version':
    case '-v':
    case 'version':
      return { name: 'version' };
    case 'up':
    case 'api':
    case 'migrate':
    case 'doctor':
      refuseMore(name, rest);
      return { name };
    case 'worker':
      return { name, workers: parseWorkers(rest) };
    case 'users':
      return { name, action: parseUsers(rest) };
    case 'rotate-secrets':
      refuseMore(name, rest, ['--lost-keys']);
      return { name, forgetsLost: rest.includes('--lost-keys') };
    case 'backup':
    case 'restore':
      return { name, file: parseFile(name, rest) };
    case 'demo':
      refuseMore(name, rest, ['--once']);
      return { name, once: rest.includes('--once') };
    default:
      throw new StartupError(`"${name}" is no command${meantFor(name, NAMES)} There are ${listOf(NAMES)}.`);
  }
}

function topicOf(name: string | undefined): HelpTopic | undefined {
  return HELP_TOPICS.find((topic) => topic === name);
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

function parseFile(command: string, rest: string[]): string {
  const [file, ...more] = rest;
  if (file === undefined || file.startsWith('-') || more.length > 0)
    throw new StartupError(
      `${command} takes the name of one file. For example: chronoverse ${command} chronoverse.backup`,
    );
  return file;
}

function refuseMore(command: string, rest: string[], allowed: string[] = []): void {
  const odd = rest.find((argument) => !allowed.includes(argument));
  if (odd === undefined) return;
  const takes = allowed.length === 0 ? 'takes no argument' : `takes ${listOf(allowed)} alone`;
  throw new StartupError(
    `"${odd}" is not understood: ${command} ${takes}; settings are environment variables (--help lists them).`,
  );
}
