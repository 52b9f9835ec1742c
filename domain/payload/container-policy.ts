import { CONTAINER_NETWORKS, type ContainerNetwork } from './container-schema.ts';

/**
 * What the operator allows CONTAINER workflows to do. It holds for payloads that were taken before,
 * too.
 */
export interface ContainerPolicy {
  /**
   * CONTAINER_NETWORKS: those that a payload may ask for. The first one is for payloads that ask
   * for none.
   */
  networks: readonly ContainerNetwork[];
  /** BUILDS_ALLOWED: whether a payload may have a Dockerfile. */
  buildsAllowed: boolean;
}

export const CONTAINER_POLICY: ContainerPolicy = { networks: CONTAINER_NETWORKS, buildsAllowed: true };

export const BUILDS_REFUSED =
  'This installation builds no Dockerfiles (BUILDS_ALLOWED is false): name an image that is built elsewhere.';

/** Undefined where a payload may have this network. */
export function networkProblem(
  network: ContainerNetwork | undefined,
  { networks }: ContainerPolicy,
): string | undefined {
  if (network === undefined || networks.includes(network)) return undefined;
  return `The network ${network} is not allowed in this installation (CONTAINER_NETWORKS): use ${networks.join(' or ')}.`;
}

/** The one that a payload gets. */
export function networkFor(network: ContainerNetwork | undefined, { networks }: ContainerPolicy): ContainerNetwork {
  return network ?? networks[0] ?? 'NONE';
}
