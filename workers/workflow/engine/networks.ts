import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { settledWithin } from '../../../platform/async/deadline.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import type { NetworkSpec } from '../../../platform/docker/networks.ts';
import { eachAlone } from './each.ts';

/** The networks of users on one engine. */
export interface UserNetworks {
  /**
   * The name of the network of a user's containers. Makes the network unless this process knows it.
   */
  ensure(userId: string, options?: { anew?: boolean }): Promise<string>;
  /** Keeps the user's network while `run` is pending, even when no container runs on it yet. */
  hold<T>(userId: string, run: () => Promise<T>): Promise<T>;
  /** Removes networks that have been idle for a while. Resolves with their number. */
  sweep(): Promise<number>;
  /** Removes networks that no container runs on. */
  close(): Promise<void>;
}

/** The engine takes 20 ms to make a network, so the user's next job should find it. */
const IDLE_MS = 60_000;
/** How long a job that needs an address waits for the removal of other networks. */
const REMOVAL_MS = 10_000;
const NAME_HASH_LENGTH = 40;
/** An operator's firewall matches this prefix. An interface's name has at most 15 characters. */
export const BRIDGE_PREFIX = 'cvn-';
const BRIDGE_HASH_LENGTH = 11;

const INSTALLATION = 'chronoverse.installation';
const USER = 'chronoverse.user';

/** A user's network. The name is a hash, so no other program has one of the same name. */
export function networkOf(installation: string, userId: string): NetworkSpec {
  const hash = createHash('sha256')
    .update(JSON.stringify([installation, userId]))
    .digest('hex');
  return {
    name: `chronoverse-${hash.slice(0, NAME_HASH_LENGTH)}`,
    bridge: `${BRIDGE_PREFIX}${hash.slice(0, BRIDGE_HASH_LENGTH)}`,
    labels: { [INSTALLATION]: installation, [USER]: userId },
  };
}

/**
 * Several workers may share an engine. The engine removes a network that no running container uses,
 * even when a created container names it:
 *
 *   this worker               another one's sweep     what happens
 *   creates a container       removes the network     `ensure` makes it anew, the start repeats
 *   builds, between steps     removes the network     the next step fails, the build repeats
 *   makes the network         makes it too            the engine says to one that it exists
 */
export function createUserNetworks({
  docker,
  installation,
  log,
  idleMs = IDLE_MS,
}: {
  docker: Docker;
  installation: string;
  log: Logger;
  idleMs?: number | undefined;
}): UserNetworks {
  /**
   * By name: when this process last needed the network or first saw it. The sweep forgets networks
   * that no longer exist.
   */
  const neededAt = new Map<string, number>();
  const made = new Set<string>();
  const held = new Map<string, number>();

  async function ensure(userId: string, { anew = false } = {}): Promise<string> {
    const spec = networkOf(installation, userId);
    neededAt.set(spec.name, performance.now());
    if (made.has(spec.name) && !anew) return spec.name;
    try {
      await docker.ensureNetwork(spec);
    } catch (error) {
      if (!isEngineError(error, 'BUSY')) throw error;
      const removing = removeIdle(0, spec.name).catch((refused: unknown) =>
        log.debug({ err: refused }, 'A network was not removed.'),
      );
      // A removal that the engine does not answer continues without us.
      await settledWithin(removing, REMOVAL_MS);
      await docker.ensureNetwork(spec);
    }
    made.add(spec.name);
    return spec.name;
  }

  /** Removes networks of this installation that nobody has needed for `ms`. */
  async function removeIdle(ms: number, except?: string): Promise<number> {
    const listed = (await docker.listNetworks({ [INSTALLATION]: installation })).filter(
      ({ name, labels }) => networkOf(installation, labels[USER] ?? '').name === name,
    );
    const there = new Set(listed.map(({ name }) => name));
    for (const name of neededAt.keys()) if (!there.has(name)) forget(name);
    let removed = 0;
    await eachAlone(there, async (name) => {
      const since = neededAt.get(name) ?? performance.now();
      neededAt.set(name, since);
      if (name === except || held.has(name) || performance.now() - since < ms) return;
      made.delete(name); // first, so that a job that needs it from now on makes it anew
      if (await docker.removeNetwork(name)) {
        removed += 1;
        forget(name);
      } else neededAt.set(name, performance.now());
    });
    return removed;
  }

  function forget(name: string): void {
    if (held.has(name)) return;
    neededAt.delete(name);
    made.delete(name);
  }

  return {
    ensure,

    async hold(userId, run) {
      const { name } = networkOf(installation, userId);
      held.set(name, (held.get(name) ?? 0) + 1);
      try {
        return await run();
      } finally {
        const left = (held.get(name) ?? 1) - 1;
        if (left > 0) held.set(name, left);
        else held.delete(name);
        neededAt.set(name, performance.now());
      }
    },

    async sweep() {
      const removed = await removeIdle(idleMs);
      if (removed > 0) log.debug({ removed }, 'Networks of users whose containers have ended were removed.');
      return removed;
    },

    async close() {
      await removeIdle(0).catch((error: unknown) =>
        log.debug({ err: error }, 'Networks could not be removed; the next worker on the engine does it.'),
      );
    },
  };
}
