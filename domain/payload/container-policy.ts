import { CONTAINER_NETWORKS, type ContainerNetwork } from './container-schema.ts';

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

/** The network that a payload gets. */
export function networkFor(network: ContainerNetwork | undefined, { networks }: ContainerPolicy): ContainerNetwork {
  return network ?? networks[0] ?? 'NONE';
}
