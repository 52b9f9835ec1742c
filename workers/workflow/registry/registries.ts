import { setTimeout as delay } from 'node:timers/promises';
import { parseImageReference } from '../../../domain/images/image-reference.ts';
import {
  authorityOf,
  DOCKER_HUB,
  isTrustedRegistry,
  type RegistryPolicy,
} from '../../../domain/images/registry-allow.ts';
import type { RegistryAuth } from '../../../domain/payload/payload.ts';
import type { Platform } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import { createNames, type Names } from '../../shared/dns/names.ts';
import { preflight } from './preflight.ts';
import { notAllowed, notReachable } from './refusal.ts';
import { createVisitor } from './visit.ts';

export interface Registries {
  /**
   * Resolves when the engine may be sent to the registry of `image`: with the digest that it gives for it, where that is known. Rejects with
   * an EngineError: DENIED where the engine may not go there, or would be sent on to where it may not go; UNREACHABLE.
   */
  admit(
    image: string,
    options: {
      auth: RegistryAuth<never> | undefined;
      /** Digests of this name that are on the engine. */
      digests: string[];
      platform: () => Promise<Platform>;
      /** What the engine calls itself towards registries. */
      userAgent: () => Promise<string>;
      signal: AbortSignal;
    },
  ): Promise<string | undefined>;
}

/** All of the way to an image's last layer. */
const PREFLIGHT_MS_MAX = 30_000;
/** A registry that is not there is waited for so long, whether its port is closed, filtered, or another service's. */
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
      const greeter = createVisitor({ ...common, signal: AbortSignal.any([signal, helloLimit]) });
      const visitor = createVisitor({ ...common, signal: AbortSignal.any([signal, limit]) });
      const started = performance.now();
      try {
        return await preflight({ greeter, visitor, registry, image, reference, auth, digests, platform });
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
