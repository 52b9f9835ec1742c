import type { GivenSecret, SealedSecret } from './secret.ts';

/**
 * What a workflow runs, as it is stored and as workers read it: validated, with defaults left out. The keys are those of
 * the JSON document that `Workflow.payload` gives (snake_case). `S` is what stands for a secret: sealed where it is stored, `never`
 * where all are opened.
 */

export const HTTP_METHODS = ['GET', 'HEAD', 'POST', 'PUT'] as const;
export type HttpMethod = (typeof HTTP_METHODS)[number];

export interface HeartbeatPayload<S = SealedSecret> {
  kind: 'HEARTBEAT';
  /** http(s)://, tcp://host:port or dns://name. Absent: the platform checks itself. */
  endpoint?: string;
  method?: HttpMethod;
  headers?: Record<string, string | S>;
  body?: string;
  expected_status?: number[];
  body_contains?: string;
  timeout_seconds?: number;
  follow_redirects?: boolean;
  /** Days for which a certificate must still be valid. */
  min_tls_days_left?: number;
}

export interface ContainerPayload<S = SealedSecret> {
  kind: 'CONTAINER';
  /** Either this or `build`. */
  image?: string;
  build?: ImageBuild;
  /** Overrides the image's entrypoint and default command. */
  command?: string[];
  /** Passed to `command`, or to the image's own entrypoint. */
  args?: string[];
  env?: Record<string, string | S>;
  working_dir?: string;
  timeout_seconds?: number;
  volumes?: Volume[];
  resources?: Resources;
  network?: ContainerNetwork;
  /** For the registry that the image is pulled from. */
  registry_auth?: RegistryAuth<S>;
}

/** A Dockerfile, and the files beside it. */
export interface ImageBuild {
  dockerfile: string;
  files?: { path: string; content: string }[];
}

/** A named volume of the workflow's owner. */
export interface Volume {
  name: string;
  path: string;
  read_only?: boolean;
}

/** Bounds, not reservations. */
export interface Resources {
  cpus?: number;
  memory_mb?: number;
  pids?: number;
}

export const CONTAINER_NETWORKS = ['BRIDGE', 'NONE'] as const;
export type ContainerNetwork = (typeof CONTAINER_NETWORKS)[number];

export interface RegistryAuth<S = SealedSecret> {
  username: string;
  password: string | S;
}

export type Payload<S = SealedSecret> = HeartbeatPayload<S> | ContainerPayload<S>;
/** As its author gives it, checked and not yet sealed. */
export type GivenPayload = Payload<GivenSecret>;
