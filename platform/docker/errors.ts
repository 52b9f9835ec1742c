/**
 * What went wrong at the engine, by what can be done about it.
 * UNREACHABLE: no answer from the engine, or (to it) from a registry. BUSY: a 429 or 5xx. Both may pass.
 * NOT_FOUND, DENIED: of a container or an image. CONFLICT: a name is taken, or a container is not in the state that is asked for.
 * INVALID: the request is one that no engine carries out: a command that is not there, a wrong image reference.
 */
export type EngineErrorKind = 'UNREACHABLE' | 'BUSY' | 'NOT_FOUND' | 'DENIED' | 'CONFLICT' | 'INVALID';

export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly kind: EngineErrorKind;

  constructor(kind: EngineErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }

  /** Whether the same request may succeed a little later. */
  get passes(): boolean {
    return this.kind === 'UNREACHABLE' || this.kind === 'BUSY';
  }
}

export function isEngineError(error: unknown, ...kinds: EngineErrorKind[]): error is EngineError {
  return error instanceof EngineError && (kinds.length === 0 || kinds.includes(error.kind));
}

/** Of an answer with an error status, in the engine's words. */
export function fromStatus(status: number, words: string): EngineError {
  if (status === 404) return new EngineError(deniesAccess(words) ? 'DENIED' : 'NOT_FOUND', words);
  if (status === 401 || status === 403) return new EngineError('DENIED', words);
  if (status === 409) return new EngineError('CONFLICT', words);
  // The engine answers 500 for several things that no second try mends, and are the workflow's: they are told by its words.
  if (status < 500 && status !== 429) return new EngineError('INVALID', words);
  return new EngineError(NEVER_PASSES.test(words) && !HOSTS_FAULT.test(words) ? 'INVALID' : 'BUSY', words);
}

/** Of a failed pull, where the engine hands on a registry's or a resolver's words, with any status or in the stream. */
export function fromPull(words: string): EngineError {
  if (BUSY.test(words)) return new EngineError('BUSY', words);
  if (NO_ANSWER.test(words)) return new EngineError('UNREACHABLE', words);
  if (deniesAccess(words)) return new EngineError('DENIED', words);
  return new EngineError(/not found|unknown|no such|does not exist/i.test(words) ? 'NOT_FOUND' : 'INVALID', words);
}

/** Of a failed build: what its Dockerfile says is the author's; only a layer that another build's clearing up took away comes again. */
export function fromBuild(words: string): EngineError {
  return new EngineError(LAYER_GONE.test(words) || HOSTS_FAULT.test(words) ? 'BUSY' : 'INVALID', words);
}

const LAYER_GONE = /no such image: sha256|layer does not exist|failed to get parent image|unknown parent image/i;
const NEVER_PASSES = /OCI runtime|unable to find user|no matching entries|is not a directory|invalid/i;
const HOSTS_FAULT = /rlimit|cgroup|no space left|cannot allocate memory/i;
const NO_ANSWER =
  /no such host|connection refused|connection reset|broken pipe|network is unreachable|no route to host|server misbehaving|temporary failure|timeout|timed out|deadline exceeded|\bEOF\b/i;
const BUSY = /toomanyrequests|too many requests|^unavailable|received unexpected HTTP status: 5|\b(429|50[0234])\b/i;

/** Docker Hub says of an image that is not there: "pull access denied, repository does not exist or may require authorization". */
function deniesAccess(words: string): boolean {
  return /access denied|unauthorized|authentication required|no basic auth|forbidden|denied:/i.test(words);
}
