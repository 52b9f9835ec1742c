import { z } from 'zod';
import { EngineError, fromPull, notFromRegistry, REGISTRY_CODES } from '../../../platform/docker/errors.ts';

/**
 * The engine may not contact the registry, or a place that it redirects to. The message reveals
 * nothing about which addresses exist.
 */
export function notAllowed(registry: string, cause?: unknown): EngineError {
  return new EngineError(
    'DENIED',
    `Images may not come from the registry ${registry} here, or there is no such registry. The operator's setting REGISTRY_ALLOW names those that may be asked.`,
    { cause },
  );
}

/** One sentence where no answer comes: a closed port and a filtered one look alike. */
export function notReachable(registry: string, cause?: unknown): EngineError {
  return new EngineError('UNREACHABLE', `The registry ${registry} could not be reached.`, { cause });
}

/** One sentence for every answer that is not a registry's. No wait changes it. */
export function neverReachable(registry: string, cause: unknown): EngineError {
  return new EngineError('INVALID', notFromRegistry(registry), { cause });
}

/**
 * The error for an answer without an image, in the words of the engine's own refusal. An answer
 * that is not a registry's gives no code, since it may be another service's. A missing login and
 * too many requests are exceptions: proxies in front of registries report those too.
 */
export function notGiven(image: string, { status, body, retryAfterSeconds }: Refusal): EngineError {
  const code = codeIn(body);
  const isKnown = code !== undefined && REGISTRY_CODES.includes(code);
  if (isKnown) return fromPull(code, image, retryAfterSeconds);
  const meant = code !== undefined || status === 401 || status === 429 ? CODE_OF_STATUS[status] : undefined;
  if (meant !== undefined) return fromPull(meant, image, retryAfterSeconds);
  const busy = status >= 500 ? 'received unexpected HTTP status: ' : '';
  return fromPull(`${busy}${status}, and no code of a registry`, image, retryAfterSeconds);
}

/** What matters of an answer without an image. */
interface Refusal {
  status: number;
  body: string;
  retryAfterSeconds: number | undefined;
}

const CODE_OF_STATUS: Partial<Record<number, string>> = {
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  404: 'MANIFEST_UNKNOWN',
  429: 'TOOMANYREQUESTS',
};

const errors = z.object({ errors: z.array(z.object({ code: z.string() })).min(1) });

/** The first error code in a registry's answer. */
function codeIn(body: string): string | undefined {
  try {
    return errors.safeParse(JSON.parse(body)).data?.errors[0]?.code.toUpperCase();
  } catch {
    return undefined; // not JSON, so not a registry's
  }
}
