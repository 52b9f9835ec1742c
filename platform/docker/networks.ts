import { z } from 'zod';
import type { Engine } from './engine.ts';
import { EngineError, isEngineError } from './errors.ts';

export interface NetworkSpec {
  name: string;
  /**
   * The host's interface of it: at most 15 characters. The engine makes no second network with it.
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
   * Makes a bridge network on which containers do not reach each other, unless it is there. BUSY
   * when the engine has no addresses left. The engine separates containers by iptables: one that
   * runs with `--iptables=false` does not.
   */
  ensureNetwork(spec: NetworkSpec): Promise<void>;
  /** With all these labels. */
  listNetworks(labels: Record<string, string>): Promise<ListedNetwork[]>;
  /** False while a container runs on it. One that is not there is fine. */
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
        // Two workers that make it at once: the engine refuses the second one by its name, or by
        // its bridge.
        if (isEngineError(error) && /already exists|same bridge name/i.test(error.message)) return;
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
        if (isEngineError(error) && /active endpoints/i.test(error.message)) return false;
        throw error;
      }
    },
  };
}

/**
 * Whether a container could not be created or started, or a build not go on, because its network is
 * not there.
 */
export function isNetworkMissing(error: unknown): boolean {
  return isEngineError(error) && /network \S+ not found|no such network|could not find a network/i.test(error.message);
}

const NO_ADDRESSES =
  'The Docker engine has no addresses left for another network. One is free again when the containers of another user have ended; the operator can give the engine more (default-address-pools).';

function hasNoAddresses(error: unknown): boolean {
  return isEngineError(error) && /non-overlapping IPv4 address pool|address pools have been fully/i.test(error.message);
}

const list = z.array(z.object({ Name: z.string(), Labels: z.record(z.string(), z.string()).nullish() }));
