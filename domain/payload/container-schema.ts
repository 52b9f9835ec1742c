import { z } from 'zod';
import { readDockerfile } from '../dockerfile/dockerfile.ts';
import { imageProblem } from '../images/image-reference.ts';
import {
  BUILD_FILE_PATH_BYTES_MAX,
  BUILD_FILES_MAX,
  CONTAINER_CPUS_MIN,
  CONTAINER_MEMORY_MB_MIN,
  VOLUMES_MAX,
} from '../limits.ts';
import { didYouMean } from '../suggest.ts';
import { byteCount } from '../text.ts';
import { flag, shown, text, typeError } from './value-schema.ts';

/** What values a CONTAINER's fields take. Messages are whole sentences. */

export const CONTAINER_NETWORKS = ['BRIDGE', 'NONE'] as const;
export type ContainerNetwork = (typeof CONTAINER_NETWORKS)[number];

export const PULL_POLICIES = ['ALWAYS', 'IF_MISSING', 'NEVER'] as const;
export type PullPolicy = (typeof PULL_POLICIES)[number];

/** The operator's maximums (MAX_CONTAINER_CPUS and its siblings). */
export interface ResourceMaximums {
  cpus: number;
  memoryMb: number;
  pids: number;
}

const PATH_LENGTH_MAX = 4096;

export const image = z.string({ error: typeError('The image', 'text') }).superRefine((value, context) => {
  const problem = imageProblem(value);
  if (problem) context.addIssue({ code: 'custom', message: `The image ${shown(value)} ${problem}.` });
});

export const command = z.array(text('Each part of the command'), {
  error: typeError('The command', 'a list of texts'),
});
export const args = z.array(text('Each argument'), { error: typeError('args', 'a list of texts') });

export const workingDir = text('The working directory')
  .refine((path) => path.startsWith('/'), 'The working directory must be an absolute path, like "/app".')
  .refine(
    (path) => path.length <= PATH_LENGTH_MAX,
    `The working directory must have at most ${PATH_LENGTH_MAX} characters.`,
  );

/**
 * The signals of Linux that a program may be stopped with, without those that only suspend it or
 * that report a fault in it.
 */
const STOP_SIGNALS = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGABRT',
  'SIGKILL',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGTERM',
  'SIGWINCH',
  'SIGPWR',
];
const REAL_TIME_SIGNAL = /^SIGRTMIN(\+([1-9]|1[0-5]))?$/;

export const stopSignal = text('The stop signal').superRefine((value, context) => {
  if (STOP_SIGNALS.includes(value) || REAL_TIME_SIGNAL.test(value)) return;
  const message = `The stop signal must be one of ${STOP_SIGNALS.join(', ')} and SIGRTMIN to SIGRTMIN+15.${didYouMean(value, STOP_SIGNALS)}`;
  context.addIssue({ code: 'custom', message });
});

const USER = /^(\d{1,10}|[a-z_][a-z0-9_.-]{0,31}\$?)(:(\d{1,10}|[a-z_][a-z0-9_.-]{0,31}))?$/i;
const USER_ID_MAX = 0x7fff_ffff; // the engine's own maximum

export const user = text('The user').refine(
  (value) => USER.test(value) && value.split(':').every((part) => !/^\d+$/.test(part) || Number(part) <= USER_ID_MAX),
  `The user must be a user id or a name that the image knows, and may have a group behind a colon, like "1000:1000" or "node". Ids are at most ${USER_ID_MAX}.`,
);

const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$/;

const oneVolume = z.strictObject(
  {
    name: text('The name of a volume').refine(
      isVolumeName,
      'The name of a volume must be 1 to 64 letters, digits, "_", "." or "-", and begin with a letter or digit: it is no path.',
    ),
    path: text('The path of a volume').superRefine((path, context) => {
      const problem = mountProblem(path);
      if (problem) context.addIssue({ code: 'custom', message: problem });
    }),
    read_only: flag('read_only')
      .transform((value): boolean | undefined => value || undefined) // the default is not stored
      .optional(),
    owner: text('The owner of a volume')
      .refine(
        isOwner,
        `The owner of a volume must be a user id, with a group id behind a colon if you like, like "1000:1000". Ids are at most ${USER_ID_MAX}.`,
      )
      .optional(),
  },
  { error: objectError('Each volume', 'like {"name": "data", "path": "/data"}') },
);

export const volumes = z
  .array(oneVolume, { error: typeError('volumes', 'a list of volumes') })
  .max(VOLUMES_MAX, `There may be at most ${VOLUMES_MAX} volumes.`)
  .superRefine((list, context) => {
    const seen = new Set<string>();
    for (const [index, { path }] of list.entries()) {
      const bare = path.replace(/\/$/, '');
      const message = `The path ${shown(path)} must be given to one volume, not to two.`;
      if (seen.has(bare)) context.addIssue({ code: 'custom', path: [index, 'path'], message });
      seen.add(bare);
    }
  });

const NETWORK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
/** Names that mean something else to an engine than a network that somebody made. */
const RESERVED_NETWORKS = ['host', 'none', 'bridge', 'default', 'ingress'];

/** Whether an operator may allow a network of this name. */
export function isSharedNetworkName(name: string): boolean {
  return NETWORK_NAME.test(name) && !RESERVED_NETWORKS.includes(name.toLowerCase());
}

export const networkName = text('The name of a network').refine(
  isSharedNetworkName,
  'The name of a network must be one that the operator has made: letters, digits, "_", "." and "-".',
);

export function resources({ cpus, memoryMb, pids }: ResourceMaximums) {
  return z.strictObject(
    {
      cpus: within('cpus', CONTAINER_CPUS_MIN, cpus).optional(),
      memory_mb: within('The memory', CONTAINER_MEMORY_MB_MIN, memoryMb, 'MB')
        .refine(Number.isInteger, whole)
        .optional(),
      shared_memory_mb: within('The shared memory', 1, memoryMb, 'MB').refine(Number.isInteger, whole).optional(),
      pids: within('pids', 1, pids).refine(Number.isInteger, whole).optional(),
    },
    { error: objectError('resources', 'like {"cpus": 0.5}') },
  );
}

const file = z.strictObject(
  {
    path: text('The path of a file').superRefine((path, context) => {
      const problem = filePathProblem(path);
      if (problem) context.addIssue({ code: 'custom', message: problem });
    }),
    content: text('The content of a file'),
  },
  { error: objectError('Each file', 'like {"path": "app/main.py", "content": "print(1)"}') },
);

export const build = z.strictObject(
  {
    dockerfile: text('The Dockerfile').superRefine((dockerfile, context) => {
      for (const message of readDockerfile(dockerfile).problems ?? []) context.addIssue({ code: 'custom', message });
    }),
    files: z
      .array(file, { error: typeError('files', 'a list of files') })
      .max(BUILD_FILES_MAX, `There may be at most ${BUILD_FILES_MAX} files beside the Dockerfile.`)
      .superRefine((files, context) => {
        const paths = files.map(({ path }) => path);
        for (const [index, path] of paths.entries()) {
          const message = clash(path, paths.slice(0, index));
          if (message) context.addIssue({ code: 'custom', path: [index, 'path'], message });
        }
      })
      .transform((files) => (files.length === 0 ? undefined : files))
      .optional(),
  },
  { error: objectError('The build', 'like {"dockerfile": "FROM alpine:3"}') },
);

const whole = 'This must be a whole number.';

function within(subject: string, min: number, max: number, unit = '') {
  const bounds = `${subject} must be ${min} to ${max}${unit && ` ${unit}`}.`;
  return z
    .number({ error: typeError(subject, 'a number') })
    .min(min, bounds)
    .max(max, bounds);
}

function objectError(subject: string, example: string) {
  const wrongType = typeError(subject, `an object ${example}`);
  return (issue: { code?: string; input?: unknown }) => (issue.code === 'invalid_type' ? wrongType(issue) : undefined);
}

/** The kernel's own file systems, which no volume may hide. */
const KERNEL = ['/proc', '/sys', '/dev'];

function mountProblem(path: string): string | undefined {
  if (!path.startsWith('/')) return 'The path of a volume must be absolute, like "/data".';
  if (path.length > PATH_LENGTH_MAX) return `The path of a volume must have at most ${PATH_LENGTH_MAX} characters.`;
  const steps = path.replace(/\/$/, '').split('/').slice(1);
  if (steps.length === 0) return 'The path of a volume must not be "/": name a folder below it.';
  if (steps.some((step) => step === '' || step === '.' || step === '..'))
    return 'The path of a volume must have no empty steps and no "." or ".." in it.';
  return KERNEL.includes(`/${steps[0]}`) ? `A volume must not be in ${KERNEL.join(', ')}.` : undefined;
}

function filePathProblem(path: string): string | undefined {
  if (path === '') return 'The path of a file must not be empty.';
  if (path.startsWith('/')) return 'The path of a file must be relative to the Dockerfile, like "app/main.py".';
  if (path.includes('\\')) return 'The path of a file must have "/" between its steps, and no "\\".';
  if (path.split('/').includes('..')) return 'The path of a file must not leave the folder of the Dockerfile: no "..".';
  if (path.split('/').some((step) => step === '' || step === '.'))
    return 'The path of a file must have no empty steps and no "." in it.';
  if (byteCount(path) > BUILD_FILE_PATH_BYTES_MAX)
    return `The path of a file must be at most ${BUILD_FILE_PATH_BYTES_MAX} bytes.`;
  return path === 'Dockerfile' ? 'The path "Dockerfile" is that of the Dockerfile itself: choose another.' : undefined;
}

function clash(path: string, earlier: string[]): string | undefined {
  if (earlier.includes(path)) return `The path ${shown(path)} must be given once, not twice.`;
  const other = ['Dockerfile', ...earlier].find((one) => path.startsWith(`${one}/`) || one.startsWith(`${path}/`));
  return other && `The path ${shown(path)} cannot be a file beside ${shown(other)}: one is a folder of the other.`;
}

function isOwner(value: string): boolean {
  return /^\d{1,10}(:\d{1,10})?$/.test(value) && value.split(':').every((id) => Number(id) <= USER_ID_MAX);
}

/** Whether a volume can have this name. */
export function isVolumeName(name: string): boolean {
  return VOLUME_NAME.test(name);
}
