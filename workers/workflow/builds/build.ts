import type { Logger } from 'pino';
import type { ClaimedBuild } from '../../../db/builds/claim.ts';
import { createMask } from '../../../domain/masking/mask.ts';
import { mapLogin } from '../../../domain/payload/map-secrets.ts';
import type { RegistryAuth } from '../../../domain/payload/registry-auth.ts';
import { type SealedSecret, type Sealer, UnreadableSecret } from '../../../domain/payload/secret.ts';
import { openingOf } from '../../../domain/payload/secrets.ts';
import { createBackoff, retry } from '../../../platform/async/retry.ts';
import { EngineError, isEngineError } from '../../../platform/docker/errors.ts';
import { isOutage } from '../../../platform/postgres/outage.ts';
import { type BuildContext, buildDockerfile } from './built-image.ts';
import type { PinnedImage } from './template.ts';
import { atOnceMs, type Outage, waitSeconds } from './waits.ts';

export type BuildResult = PinnedImage | { error: string } | { outage: Outage };

/** The default of MAX_BUILD_SECONDS. */
export const BUILD_SECONDS_MAX = 3_600;

/**
 * Finds the image that a payload names on the engine, pulls it, or builds it. `say` prints a line
 * into the build's log, and `output` prints what the steps print. Resolves with the reason on
 * failure, and with an outage that may pass. Rejects when `signal` aborts, and on errors that are
 * not the engine's.
 */
export async function buildImage({
  build,
  sealer,
  hadEngine,
  isFresh,
  log,
  maxSeconds = BUILD_SECONDS_MAX,
  ...context
}: Omit<BuildContext, 'userId' | 'puller' | 'mask' | 'maxSeconds'> & {
  build: ClaimedBuild;
  sealer: Sealer;
  /** Whether the engine answered when the build was claimed. */
  hadEngine: boolean;
  /**
   * Whether this process certainly holds the lease. It does not after a long outage of the
   * database.
   */
  isFresh: () => boolean;
  log: Logger;
  maxSeconds?: number | undefined;
}): Promise<BuildResult> {
  const { say: print, signal } = context;
  const opening = openingOf(sealer, build.workflowId);
  const { registry_auth: sealedAuth } = build.payload;
  let auth: RegistryAuth<never> | undefined;
  try {
    auth = sealedAuth && mapLogin<SealedSecret, never>('registry_auth', sealedAuth, opening.open);
  } catch (error) {
    if (!(error instanceof UnreadableSecret)) throw error;
    print(error.message);
    return { error: error.message };
  }
  const mask = createMask(opening.secrets);
  const masked = (line: string) => mask?.text(line) ?? line;
  const say = (line: string) => print(masked(line));
  const output = (line: string) => context.output(masked(line));
  const backoff = createBackoff({ log, what: 'Reading what a build needs from the database' });
  const whose = { userId: build.userId, puller: build.id, mask };
  let stepsRan = false;
  for (;;) {
    let outage: unknown;
    const limit = AbortSignal.timeout(maxSeconds * 1_000);
    const both = AbortSignal.any([signal, limit]);
    try {
      const onRetry = (error: unknown, waitMs: number) =>
        say(`${words(error)} Trying again in ${Math.ceil(waitMs / 1000)} s.`);
      const timeoutMs = (error: unknown) => atOnceMs(error, { isFirst: build.waits === 0 && hadEngine });
      const image = await retry({ ...BACKOFF_MS, timeoutMs, onRetry, signal: both }, async () => {
        try {
          return await pin({ ...context, ...whose, maxSeconds, say, output, signal: both }, build, auth);
        } catch (error) {
          if (!isEngineError(error) && isOutage(error)) outage = error;
          stepsRan ||= isEngineError(error) && error.inSteps;
          throw error;
        }
      });
      backoff.reset();
      say(`The image of generation ${build.generation} is ${image.imageId}.`);
      return image;
    } catch (error) {
      // An outage of the database is not the build's fault: the build starts again afterwards, with
      // its whole time.
      if (limit.aborted && !isFresh()) outage ??= error;
      if (!signal.aborted && outage !== undefined) {
        await backoff.wait(outage, signal);
        continue;
      }
      if (signal.aborted || !(limit.aborted || isEngineError(error))) throw error;
      if (!limit.aborted && isEngineError(error) && error.passes && !(stepsRan && build.isLast)) {
        const met = outageOf(build, error, stepsRan);
        say(`${met.message} Trying again in ${met.waitSeconds} s.`);
        return { outage: { ...met, message: masked(met.message) } };
      }
      const reason = limit.aborted ? `It took longer than ${maxSeconds} s, and was stopped.` : words(error);
      say(reason);
      log.info({ err: error, buildId: build.id }, 'A build has failed.');
      return { error: masked(reason) };
    }
  }
}

async function pin(
  context: BuildContext,
  build: ClaimedBuild,
  auth: RegistryAuth<never> | undefined,
): Promise<PinnedImage> {
  const { say } = context;
  const { image, build: source, network, resources, pull_policy: pullPolicy } = build.payload;
  if (source !== undefined) {
    say('Building the Dockerfile on the Docker engine.');
    const { workflowId, generation } = build;
    const pids = resources?.pids;
    const built = { workflowId, generation, source, network, pids, auth, pullPolicy };
    return { imageId: await buildDockerfile(context, built), engineId: await context.docker.storeId() };
  }
  if (image === undefined) throw new EngineError('INVALID', 'The payload names no image.');
  say(`Looking for the image ${image} on the Docker engine.`);
  const { id, digest } = await context.images.find(context, { image, auth, pullPolicy });
  return { imageId: id, imageDigest: digest, engineId: await context.docker.storeId() };
}

const BACKOFF_MS = { minMs: 250, maxMs: 5_000 };

function outageOf(build: ClaimedBuild, error: EngineError, stepsRan: boolean): Outage {
  return {
    message: words(error),
    // Another worker may have an engine, and goes on with it now. Attempts that count have an end.
    waitSeconds: error.isAway && stepsRan ? 0 : waitSeconds(build.waits, error),
    isOfEngine: error.isAway,
    counted: stepsRan,
  };
}

function words(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /[.?]$/.test(message) ? message : `${message}.`;
}
