import { EngineError } from '../../../platform/docker/errors.ts';

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
