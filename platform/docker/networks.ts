import { z } from 'zod';
import type { Engine } from './engine.ts';
import { EngineError, isEngineError } from './errors.ts';

export interface NetworkSpec {
  name: string;
  /**
   * Its interface on the host: at most 15 characters. The engine makes no second network with it.
   */
  bridge: string;
  labels: Record<string, string>;
}

export interface ListedNetwork {
  name: string;
  labels: Record<string, string>;
}

export interface Networks {
  /**
   * Makes a bridge network on which containers cannot reach each other, unless it exists. BUSY if
   * the engine has no addresses left. The engine separates containers by iptables. An engine that
   * runs with `--iptables=false` does not separate them.
   */
  ensureNetwork(spec: NetworkSpec): Promise<void>;
  /** The networks that have all these labels. */
  listNetworks(labels: Record<string, string>): Promise<ListedNetwork[]>;
  /** Returns false while a container runs on it. A missing network counts as removed. */
  removeNetwork(name: string): Promise<boolean>;
}

export function createNetworks(engine: Engine): Networks {
  return {
    async ensureNetwork({ name, bridge, labels }) {
      const body = {
        Name: name,
        CheckDuplicate: true,
        Driver: 'bridge',
        EnableIPv6: false,
        Options: { 'com.docker.network.bridge.enable_icc': 'false', 'com.docker.network.bridge.name': bridge },
        Labels: labels,
      };
      try {
        await engine.call({ method: 'POST', path: '/networks/create', body });
      } catch (error) {
        // Two workers may make it at once. The engine refuses the second one because of its name or
        // its bridge.
        if (isEngineError(error) && /already exists|same bridge name/i.test(error.words)) return;
        throw hasNoAddresses(error) ? new EngineError('BUSY', NO_ADDRESSES) : error;
      }
    },

    async listNetworks(labels) {
      const filters = JSON.stringify({ label: Object.entries(labels).map(([name, value]) => `${name}=${value}`) });
      const listed = list.parse(await engine.call({ method: 'GET', path: '/networks', query: { filters } }));
      return listed.map(({ Name, Labels }) => ({ name: Name, labels: Labels ?? {} }));
    },

    async removeNetwork(name) {
      try {
        await engine.call({ method: 'DELETE', path: `/networks/${encodeURIComponent(name)}` });
        return true;
      } catch (error) {
        if (isEngineError(error, 'NOT_FOUND')) return true;
        if (isEngineError(error) && /active endpoints/i.test(error.words)) return false;
        throw error;
      }
    },
  };
}

/**
 * Whether a container could not be created or started, or a build could not go on, because its
 * network is missing.
 */
export function isNetworkMissing(error: unknown): boolean {
  return isEngineError(error) && /network \S+ not found|no such network|could not find a network/i.test(error.words);
}

const NO_ADDRESSES =
  'The Docker engine has no addresses left for another network. One is free again when the containers of another user have ended; the operator can give the engine more (default-address-pools).';

function hasNoAddresses(error: unknown): boolean {
  return isEngineError(error) && /non-overlapping IPv4 address pool|address pools have been fully/i.test(error.words);
}

const list = z.array(z.object({ Name: z.string(), Labels: z.record(z.string(), z.string()).nullish() }));
