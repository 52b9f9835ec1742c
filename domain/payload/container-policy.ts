import { CONTAINER_NETWORKS, type ContainerNetwork } from './container-schema.ts';
import { shown } from './value-schema.ts';

/**
 * What the operator allows CONTAINER workflows to do. It also holds for payloads that were accepted
 * earlier.
 */
export interface ContainerPolicy {
  /**
   * CONTAINER_NETWORKS: the networks that a payload may ask for. A payload that asks for none gets
   * the first one.
   */
  networks: readonly ContainerNetwork[];
  /** SHARED_NETWORKS: networks on the engine that every user's containers may join. */
  sharedNetworks?: readonly string[];
  /** CONTAINER_CAPABILITIES: those that a payload may ask for. */
  capabilities?: readonly string[];
  /** BUILDS_ALLOWED: whether a payload may have a Dockerfile. */
  buildsAllowed: boolean;
}

export const CONTAINER_POLICY: ContainerPolicy = { networks: CONTAINER_NETWORKS, buildsAllowed: true };

export const BUILDS_REFUSED =
  'This installation builds no Dockerfiles (BUILDS_ALLOWED is false): name an image that is built elsewhere.';

/** Undefined when a payload may have this network. */
export function networkProblem(
  network: ContainerNetwork | undefined,
  { networks }: ContainerPolicy,
): string | undefined {
  if (network === undefined || networks.includes(network)) return undefined;
  return `The network ${network} is not allowed in this installation (CONTAINER_NETWORKS): use ${networks.join(' or ')}.`;
}

/** Undefined when a payload may join this network of the operator's. */
export function sharedNetworkProblem(
  name: string | undefined,
  { sharedNetworks = [] }: ContainerPolicy,
): string | undefined {
  if (name === undefined || sharedNetworks.includes(name)) return undefined;
  const allowed = sharedNetworks.length === 0 ? 'it allows none' : `use ${sharedNetworks.join(' or ')}`;
  return `The network ${shown(name)} is not allowed in this installation (SHARED_NETWORKS): ${allowed}.`;
}

/** Undefined when a payload may have these capabilities. */
export function capabilitiesProblem(
  asked: readonly string[] | undefined,
  { capabilities = [] }: ContainerPolicy,
): string | undefined {
  const refused = asked?.filter((name) => !capabilities.includes(name)) ?? [];
  if (refused.length === 0) return undefined;
  const allowed = capabilities.length === 0 ? 'it allows none' : `use ${capabilities.join(' or ')}`;
  const which = refused.length === 1 ? `capability ${refused[0]} is` : `capabilities ${refused.join(', ')} are`;
  return `The ${which} not allowed in this installation (CONTAINER_CAPABILITIES): ${allowed}.`;
}

/** The network that a payload gets. */
export function networkFor(network: ContainerNetwork | undefined, { networks }: ContainerPolicy): ContainerNetwork {
  return network ?? networks[0] ?? 'NONE';
}
