import { registryOf } from '../../domain/images/image-reference.ts';

/**
 * What went wrong at the engine, by what can be done about it.
 *   UNREACHABLE  the engine gave no answer, or a registry gave it none; may pass
 *   BUSY         the engine answered 429 or 5xx; may pass
 *   NOT_FOUND    a container or an image is missing
 *   DENIED       access to a container or an image is denied
 *   CONFLICT     a name is taken, or the container is in another state than the request needs
 *   INVALID      no engine carries out such a request: the command is missing, say, or the image
 *                reference is wrong
 * INVALID is the payload's fault. A container that is refused for any other reason is the engine's
 * fault.
 */
export type EngineErrorKind = 'UNREACHABLE' | 'BUSY' | 'NOT_FOUND' | 'DENIED' | 'CONFLICT' | 'INVALID';

export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly kind: EngineErrorKind;
  /** Set with UNREACHABLE if the engine itself gave no answer, or stopped in the middle of one. */
  readonly isAway: boolean;

  constructor(kind: EngineErrorKind, message: string, options: ErrorOptions & { isAway?: boolean } = {}) {
    super(message, options);
    this.kind = kind;
    this.isAway = options.isAway ?? false;
  }

  /** Whether the same request may succeed a little later. */
  get passes(): boolean {
    return this.kind === 'UNREACHABLE' || this.kind === 'BUSY';
  }
}

export function isEngineError(error: unknown, ...kinds: EngineErrorKind[]): error is EngineError {
  return error instanceof EngineError && (kinds.length === 0 || kinds.includes(error.kind));
}

/** Whether the engine says that the container is missing, and not something else. */
export function isContainerMissing(error: EngineError): boolean {
  return /no such container/i.test(error.message);
}

/** Makes the error for an answer with an error status and the engine's words. */
export function fromStatus(status: number, words: string): EngineError {
  const shown = withoutHostPaths(words);
  if (status === 404) return new EngineError(deniesAccess(words) ? 'DENIED' : 'NOT_FOUND', shown);
  if (status === 401 || status === 403) return new EngineError('DENIED', shown);
  if (status === 409) return new EngineError('CONFLICT', shown);
  if (status < 500 && status !== 429) return new EngineError('INVALID', shown);
  return new EngineError(isPayloadsFault(words) ? 'INVALID' : 'BUSY', shown);
}

/**
 * Whether a container could not start because of its payload or image. The engine answers 500 for
 * this too, and only its words show the difference. Unknown words count as the engine's fault, so
 * that no workflow is terminated for what its author cannot fix.
 */
export function isPayloadsFault(words: string): boolean {
  return PAYLOADS_FAULT.test(words) && !HOSTS_FAULT.test(words);
}

/**
 * Removes the host's folders of layers and volumes, which users must not see. The words about a
 * file in the place of a volume become a sentence.
 */
export function withoutHostPaths(words: string): string {
  const shown = words.replace(HOSTS_FOLDER, '');
  const path = FILE_IN_PLACE.exec(shown)?.slice(1).find(Boolean);
  if (path === undefined) return shown;
  return `A volume cannot be mounted at ${path}: the image has a file there, and a folder was expected.`;
}

/**
 * Makes the error for a failed pull of `image`. The engine repeats the words of a registry or a
 * resolver, with any status or in the stream. They may contain what another service answered. So
 * they become the cause, for the operator's log. The message is ours, and contains at most a
 * registry's code.
 */
export function fromPull(words: string, image: string): EngineError {
  const registry = registryOf(image) ?? 'registry';
  const code = registryCode(words);
  const shown = code === undefined ? '' : ` (${code})`;
  const error = (kind: EngineErrorKind, message: string) => new EngineError(kind, message, { cause: new Error(words) });
  if (HOSTS_FAULT.test(words)) return error('BUSY', `The Docker engine has no room for the image ${image}.`);
  if (code === 'TOOMANYREQUESTS' || code === 'UNAVAILABLE')
    return error('BUSY', `The registry ${registry} asks to come back later${shown}.`);
  if (code === 'UNAUTHORIZED' || code === 'DENIED')
    return error(
      'DENIED',
      `The registry ${registry} does not give the image ${image} to this login, or to none${shown}.`,
    );
  if (code !== undefined) return error('NOT_FOUND', `The registry ${registry} has no image ${image}${shown}.`);
  if (/no matching manifest/i.test(words))
    return error('NOT_FOUND', `The image ${image} has no variant for the platform of the Docker engine.`);
  const kind = BUSY.test(words) ? 'BUSY' : NO_ANSWER.test(words) ? 'UNREACHABLE' : 'INVALID';
  return error(kind, `The registry ${registry} could not be reached.`);
}

/**
 * The registry protocol's code that an engine's words stand for. The engine writes codes in lower
 * case.
 */
function registryCode(words: string): string | undefined {
  if (/no basic auth credentials|authentication required|HTTP 401|HTTP status: 401/i.test(words)) return 'UNAUTHORIZED';
  if (/pull access denied|access forbidden|HTTP status: 403/i.test(words)) return 'DENIED';
  if (/too many requests/i.test(words)) return 'TOOMANYREQUESTS';
  return REGISTRY_CODES.find((code) => new RegExp(`\\b${code.replace('_', '[ _]')}(:|$)`, 'i').test(words));
}
/** The codes that a pull may cause, the more specific ones first. */
export const REGISTRY_CODES: readonly string[] = [
  'TOOMANYREQUESTS',
  'UNAUTHORIZED',
  'DENIED',
  'MANIFEST_UNKNOWN',
  'NAME_UNKNOWN',
  'NAME_INVALID',
  'TAG_INVALID',
  'MANIFEST_INVALID',
  'BLOB_UNKNOWN',
  'DIGEST_INVALID',
  'UNSUPPORTED',
  'UNAVAILABLE',
];

/**
 * Makes the error for a failed build. The Dockerfile's errors are its author's. Only a missing
 * layer or network passes, because clearing up may have removed it, and so does a fault of the
 * host.
 */
export function fromBuild(words: string): EngineError {
  return new EngineError(LAYER_GONE.test(words) || HOSTS_FAULT.test(words) ? 'BUSY' : 'INVALID', words);
}

const LAYER_GONE =
  /^network \S+ not found|no such image: sha256|layer does not exist|failed to get parent image|unknown parent image/i;
const PAYLOADS_FAULT =
  /unable to find user|no matching entries|not (a )?directory|file name too long|levels of symbolic links|argument list too long|OOM-killed|container process\b.*(exec: "|exec format error|chdir to cwd)/i;
const HOSTS_FAULT = /rlimit|cgroup|no space left|cannot allocate memory|too many open files|input\/output error/i;
const HOSTS_FOLDER = /(?<![^\s":])\/[^\s":]*?\/(merged(?=\/)|volumes\/[^\s":/]+\/_data(?=["\s:/]))/g;
const FILE_IN_PLACE =
  /^source (.+) is not (?:a )?directory$|error mounting .* to rootfs at "([^"]+)".*: not a directory/;
const NO_ANSWER =
  /no such host|connection refused|connection reset|broken pipe|network is unreachable|no route to host|server misbehaving|temporary failure|timeout|timed out|deadline exceeded|\bEOF\b/i;
const BUSY = /toomanyrequests|too many requests|^unavailable|received unexpected HTTP status: 5|\b(429|50[0234])\b/i;

/**
 * For a missing image, Docker Hub says "pull access denied, repository does not exist or may
 * require authorization".
 */
function deniesAccess(words: string): boolean {
  return /access denied|unauthorized|authentication required|no basic auth|forbidden|denied:/i.test(words);
}
