import { registryOf } from '../../domain/images/image-reference.ts';
import { boundedWords, shownFault, shownWords, withoutChosenNames, withoutHostPaths } from './engine-words.ts';

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

interface EngineErrorOptions extends ErrorOptions {
  isAway?: boolean;
  words?: string;
  retryAfterSeconds?: number | undefined;
  inSteps?: boolean;
}

/** The message is a sentence for a user. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly kind: EngineErrorKind;
  /** What the engine said, or how it failed to. For the operator: it names folders of a host. */
  readonly words: string;
  /** Set with UNREACHABLE if the engine itself gave no answer, or stopped in the middle of one. */
  readonly isAway: boolean;
  /** The time for which a registry asks: the same request passes no sooner. */
  readonly retryAfterSeconds: number | undefined;
  /** The steps of a build ran meanwhile, and may have caused it. */
  readonly inSteps: boolean;

  constructor(kind: EngineErrorKind, message: string, options: EngineErrorOptions = {}) {
    const { words = message, cause } = options;
    // The log of the operator shows what caused an error, not its other properties.
    super(message, { cause: cause ?? (words === message ? undefined : new Error(words)) });
    this.kind = kind;
    this.isAway = options.isAway ?? false;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.inSteps = options.inSteps ?? false;
    this.words = words;
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
  return /no such container/i.test(error.words);
}

/** Makes the error for an answer with an error status and the engine's words. */
export function fromStatus(status: number, words: string): EngineError {
  const kind = kindOf(status, words);
  return new EngineError(kind, kind === 'BUSY' ? shownFault(words) : shownWords(words), { words });
}

function kindOf(status: number, words: string): EngineErrorKind {
  if (status === 404) return deniesAccess(words) ? 'DENIED' : 'NOT_FOUND';
  if (status === 401 || status === 403) return 'DENIED';
  if (status === 409) return 'CONFLICT';
  if (status < 500 && status !== 429) return 'INVALID';
  return isPayloadsFault(words) ? 'INVALID' : 'BUSY';
}

/**
 * Whether a container could not start because of its payload or image. The engine answers 500 for
 * this too, and only its words show the difference. Unknown words count as the engine's fault, so
 * that no workflow is terminated for what its author cannot fix.
 */
export function isPayloadsFault(words: string): boolean {
  const bounded = boundedWords(words);
  return PAYLOADS_FAULT.test(bounded) && !isHostsFault(bounded);
}

/**
 * Makes the error for a failed pull of `image`. The engine repeats the words of a registry or a
 * resolver, with any status or in the stream. They may contain what another service answered. So
 * they become the cause, for the operator's log. The message is ours, and contains at most a
 * registry's code.
 */
export function fromPull(words: string, image: string, retryAfterSeconds?: number): EngineError {
  const registry = registryOf(image) ?? 'registry';
  const code = registryCode(words);
  const shown = code === undefined ? '' : ` (${code})`;
  const error = (kind: EngineErrorKind, message: string) =>
    new EngineError(kind, message, { cause: new Error(words), retryAfterSeconds });
  if (NO_ROOM.test(words)) return error('BUSY', `The Docker engine has no room for the image ${image}.`);
  if (code === 'TOOMANYREQUESTS' || code === 'UNAVAILABLE')
    return error('BUSY', `The registry ${registry} asks to come back later${shown}.`);
  if (code === 'UNAUTHORIZED' || code === 'DENIED')
    return error(
      'DENIED',
      `The registry ${registry} does not give the image ${image} to this login, or to none${shown}.`,
    );
  if (code !== undefined) return error('NOT_FOUND', `The registry ${registry} has no image ${image}${shown}.`);
  const unmatched = /(?:no matching manifest(?: for (\S+))?|cannot be used on this platform)/i.exec(words);
  if (unmatched !== null)
    return error('NOT_FOUND', `The image ${image} has no variant for the Docker engine${ofPlatform(unmatched[1])}.`);
  if (BROKEN_LAYER.test(words)) return error('INVALID', notFromRegistry(registry));
  if (BUSY.test(words)) return error('BUSY', `The registry ${registry} answers with an error of its own.`);
  if (NO_ANSWER.test(words)) return error('UNREACHABLE', `The registry ${registry} could not be reached.`);
  return error('INVALID', notFromRegistry(registry));
}

/** The sentence for every answer that brings no image, and that no wait changes. */
export function notFromRegistry(registry: string): string {
  return `What answers as the registry ${registry} gives no image that the Docker engine can use.`;
}

function ofPlatform(platform: string | undefined): string {
  return platform === undefined || !/^[a-z0-9/]+$/.test(platform) ? '' : `, which runs on ${platform}`;
}

/**
 * The registry protocol's code that an engine's words stand for. The engine writes codes in lower
 * case.
 */
function registryCode(words: string): string | undefined {
  if (/no basic auth credentials|authentication required|HTTP 401|HTTP status: 401/i.test(words)) return 'UNAUTHORIZED';
  if (/pull access denied|access forbidden|HTTP status: 403/i.test(words)) return 'DENIED';
  if (/too many requests|\bHTTP(?: status:)? 429\b/i.test(words)) return 'TOOMANYREQUESTS';
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
  if (AUTHORS_OWN.test(words)) return new EngineError('INVALID', withoutHostPaths(words), { words });
  if (isHostsFault(boundedWords(words))) return new EngineError('BUSY', shownFault(words), { words });
  return new EngineError(LAYER_GONE.test(words) ? 'BUSY' : 'INVALID', shownWords(words), { words });
}

/** Words that repeat what a Dockerfile says, which may look like the engine's own. */
const AUTHORS_OWN =
  /^(?:The command '[\s\S]*' returned a non-zero code: \d+|(?:dockerfile parse|syntax) error[\s\S]*|(?:COPY|ADD) failed: [\s\S]*: (?:file does not exist|no such file or directory))\s*$/i;
const LAYER_GONE =
  /^(?:[a-z ]+(?:sha256:[0-9a-f]+)?: ){0,5}(?:network \S+ not found|[Nn]o such image: sha256|layer does not exist|failed to get parent image|unknown parent image)/;
/** A name that an author has chosen, such as a command `/cgroup`, says nothing about the host. */
function isHostsFault(words: string): boolean {
  return HOSTS_FAULT.test(withoutChosenNames(words));
}
const PAYLOADS_FAULT =
  /unable to find user|no matching entries|not (a )?directory|file name too long|levels of symbolic links|too many links in|error mounting .*: mkdir .*: read-only file system|argument list too long|OOM-killed|unable to setup user|error during container init: mkdir \/(?:proc|sys|dev)\/|SecureJoin|container process\b.*(exec: "|exec format error|chdir to cwd)/i;
const NO_ROOM = /no space left|cannot allocate memory|too many open files|input\/output error/i;
const HOSTS_FAULT = new RegExp(`rlimit|cgroup|${NO_ROOM.source}`, 'i');
const NO_ANSWER =
  /no such host|connection refused|connection reset|broken pipe|network is unreachable|no route to host|server misbehaving|temporary failure|timeout|timed out|deadline exceeded|\bEOF\b/i;
/**
 * The registry gave the whole layer, and it is no archive: the words may end in "unexpected EOF".
 */
const BROKEN_LAYER = /^(?:failed to register layer|error processing tar file|archive\/tar|gzip): /i;
/** A number alone may be a port, or a tag. */
const BUSY =
  /toomanyrequests|too many requests|^unavailable|\bHTTP (?:status: )?(?:429|5\d\d)\b|unexpected (?:HTTP )?status\b.{0,500}: (?:429|5\d\d)\b|\b50\d (?:internal server error|bad gateway|service unavailable|gateway time-?out)/i;

/**
 * For a missing image, Docker Hub says "pull access denied, repository does not exist or may
 * require authorization".
 */
function deniesAccess(words: string): boolean {
  return /access denied|unauthorized|authentication required|no basic auth|forbidden|denied:/i.test(words);
}
