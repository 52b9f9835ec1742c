import { setTimeout as delay } from 'node:timers/promises';
import { parseImageReference } from '../../../domain/images/image-reference.ts';
import {
  authorityOf,
  DOCKER_HUB,
  isTrustedRegistry,
  type RegistryPolicy,
} from '../../../domain/images/registry-allow.ts';
import type { RegistryAuth } from '../../../domain/payload/registry-auth.ts';
import type { Platform } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import { createNames, type Names } from '../../shared/dns/names.ts';
import { createRegistryClient } from './client.ts';
import { notAllowed, notReachable } from './errors.ts';
import { preflight } from './preflight.ts';

export interface Registries {
  /**
   * Resolves when the engine may contact the registry of `image`, with the registry's digest where
   * it is known. Rejects with an EngineError: DENIED when the engine may not go there or would be
   * redirected to a forbidden place, or UNREACHABLE.
   */
  admit(
    image: string,
    options: {
      auth: RegistryAuth<never> | undefined;
      /** Digests of this name that the engine has. */
      digests: string[];
      platform: () => Promise<Platform>;
      /** The name that the engine sends to registries. */
      userAgent: () => Promise<string>;
      signal: AbortSignal;
    },
  ): Promise<string | undefined>;
}

/** The time for all steps down to the image's last layer. */
const PREFLIGHT_MS_MAX = 30_000;
/**
 * The wait for a registry that does not answer. It is the same for a closed port, a filtered one
 * and another service's.
 */
const HELLO_MS = 5_000;

const systemNames = createNames();

export function createRegistries(policy: RegistryPolicy, names: Names = systemNames): Registries {
  return {
    async admit(image, { auth, digests, platform, userAgent, signal }) {
      const { reference } = parseImageReference(image);
      if (reference === undefined) throw notAllowed(image);
      const { registry } = reference;
      if (isTrustedRegistry(policy, registry)) return undefined;
      const authority = authorityOf(registry);
      if (authority === undefined || authority === DOCKER_HUB) throw notAllowed(registry);
      const common = { registry, policy, names, userAgent: await userAgent() };
      const limit = AbortSignal.timeout(PREFLIGHT_MS_MAX);
      const helloLimit = AbortSignal.timeout(HELLO_MS);
      const helloClient = createRegistryClient({ ...common, signal: AbortSignal.any([signal, helloLimit]) });
      const client = createRegistryClient({ ...common, signal: AbortSignal.any([signal, limit]) });
      const started = performance.now();
      try {
        return await preflight({ helloClient, client, registry, image, reference, auth, digests, platform });
      } catch (error) {
        signal.throwIfAborted();
        const isLate = !isEngineError(error) && (limit.aborted || helloLimit.aborted);
        const failure = isLate ? notReachable(registry, error) : error;
        if (isEngineError(failure, 'UNREACHABLE'))
          await delay(Math.max(0, HELLO_MS - (performance.now() - started)), undefined, { signal });
        throw failure;
      }
    },
  };
}
