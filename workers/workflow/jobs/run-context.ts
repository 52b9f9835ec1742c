import type { Logger } from 'pino';
import type { LogChunk } from '../../../domain/logs/chunk.ts';
import type { ResourceMaximums } from '../../../domain/payload/container-schema.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import type { BuildPolicy } from '../builds/bounds.ts';
import type { ImageSource } from '../builds/image-source.ts';
import type { Template, Templates } from '../builds/template.ts';
import type { UserNetworks } from '../engine/networks.ts';
import type { Removals } from '../engine/removals.ts';

export interface RunParts {
  docker: Docker;
  templates: Templates;
  images: ImageSource;
  networks: UserNetworks;
  removals: Removals;
  policy: BuildPolicy;
  installation: string;
  /** This process. */
  owner: string;
  maxResources?: ResourceMaximums | undefined;
  maxBuildSeconds?: number | undefined;
  maxLogBytes?: number | undefined;
  /** What a container may write to its own layer. */
  maxDiskBytes?: number | undefined;
  log: Logger;
  /** Says in the database which volumes an engine has from now on. */
  noteVolumeUse: (use: { userId: string; names: string[]; engineId: string }) => Promise<string[]>;
  /** The number of the job's last stored line. */
  lastLogNumber: (jobId: string) => Promise<number>;
}

/** What its worker may tell a run. */
export interface RunControl {
  /** Aborts when the job is not this worker's any more, or is handed on: the run then touches nothing more of it. */
  leave: AbortSignal;
  /** Aborts when the job's cancellation was asked for. */
  cancel: AbortSignal;
  /** Whether the lease is held for sure. */
  isFresh: () => boolean;
  publish: (chunk: LogChunk) => Promise<void>;
  /** Lines of earlier attempts, once they are all stored; may take as long as storing is away. */
  linesBefore: () => Promise<number>;
}

export interface Started {
  containerId: string;
  template: Template;
  startedAt: Date;
  adopted: boolean;
  /** It had ended before it was adopted. */
  endedUnseen: boolean;
}
