import { z } from 'zod';
import { EngineError, fromPull, REGISTRY_CODES } from '../../../platform/docker/errors.ts';

/** The registry, or a place that it sends the engine to, is not one that the engine may ask. It says nothing of which addresses there are. */
export function notAllowed(registry: string, cause?: unknown): EngineError {
  return new EngineError(
    'DENIED',
    `Images may not come from the registry ${registry} here, or there is no such registry. The operator's setting REGISTRY_ALLOW names those that may be asked.`,
    { cause },
  );
}

/** One sentence for all that is no answer of a registry: a port that is closed, or filtered, or another service's tells nothing. */
export function notReachable(registry: string, cause?: unknown): EngineError {
  return new EngineError('UNREACHABLE', `The registry ${registry} could not be reached.`, { cause });
}

/**
 * Of an answer that is no image, in the words that the engine's own refusal would give. What is no registry's answer gives no code: it may be
 * another service's, except for a login that is missing and for too many requests, which proxies in front of registries say too.
 */
export function notGiven(image: string, { status, body }: { status: number; body: string }): EngineError {
  const code = codeIn(body);
  const isKnown = code !== undefined && REGISTRY_CODES.includes(code);
  if (isKnown) return fromPull(code, image);
  const meant = code !== undefined || status === 401 || status === 429 ? MEANT[status] : undefined;
  if (meant !== undefined) return fromPull(meant, image);
  const busy = status >= 500 ? 'received unexpected HTTP status: ' : '';
  return fromPull(`${busy}${status}, and no code of a registry`, image);
}

const MEANT: Partial<Record<number, string>> = {
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  404: 'MANIFEST_UNKNOWN',
  429: 'TOOMANYREQUESTS',
};

const errors = z.object({ errors: z.array(z.object({ code: z.string() })).min(1) });

/** The first code in a registry's answer. */
function codeIn(body: string): string | undefined {
  try {
    return errors.safeParse(JSON.parse(body)).data?.errors[0]?.code.toUpperCase();
  } catch {
    return undefined; // no JSON, which registries write
  }
}
