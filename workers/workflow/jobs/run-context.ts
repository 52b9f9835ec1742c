import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import type { PlacedVolume } from '../../../db/volumes.ts';
import type { LogChunk } from '../../../domain/logs/chunk.ts';
import type { ResourceMaximums } from '../../../domain/payload/container-schema.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import type { BuildPolicy } from '../builds/bounds.ts';
import type { ImageSource } from '../builds/image-source.ts';
import type { Template, Templates } from '../builds/template.ts';
import type { EngineDisk } from '../engine/disk.ts';
import type { UserNetworks } from '../engine/networks.ts';
import type { Pass } from '../engine/other-engines.ts';
import type { Removals } from '../engine/removals.ts';
import type { Need } from './needs.ts';

export interface RunParts {
  docker: Docker;
  templates: Templates;
  images: ImageSource;
  networks: UserNetworks;
  removals: Removals;
  policy: BuildPolicy;
  disk: EngineDisk;
  installation: string;
  /** The name of this process. */
  owner: string;
  maxResources?: ResourceMaximums | undefined;
  maxBuildSeconds?: number | undefined;
  maxLogBytes?: number | undefined;
  /** The bytes that a container may write to its own layer. */
  maxDiskBytes?: number | undefined;
  log: Logger;
  /** Records which volumes an engine has from now on. Resolves with those that are deleted. */
  noteVolumeUse: (use: VolumeUse) => Promise<string[]>;
  /** Those of these volumes that some engine has. */
  placesOfVolumes: (use: VolumeUse) => Promise<PlacedVolume[]>;
  /** Records them, unless the data of one is on other engines alone. */
  placeVolumes: (use: VolumeUse) => Promise<{ deleted: string[]; places: PlacedVolume[] }>;
  /** The number of the job's last stored line. */
  lastLogNumber: (jobId: string) => Promise<number>;
  /** Stored chunks of the job behind line `after`, in order. */
  chunksAfter: (jobId: string, after: number) => Promise<LogChunk[]>;
}

interface VolumeUse {
  userId: string;
  names: string[];
  engineId: string;
}

/** What the worker controls of a run. */
export interface RunControl {
  /**
   * Aborts when this worker loses the job or hands it on. The run then touches nothing more of it.
   */
  leave: AbortSignal;
  /** Aborts when somebody cancels the job. */
  cancel: AbortSignal;
  /** Whether this process certainly holds the lease. */
  isFresh: () => boolean;
  publish: (chunk: LogChunk) => Promise<void>;
  /**
   * Defined if another engine may have what this one does not, so that the job should go there.
   */
  passFor: (need: Need | undefined) => Promise<Pass | undefined>;
  /**
   * The number of lines that were printed before this worker had the job. Resolves once all of them
   * are stored, which waits for an outage of log storage to end.
   */
  linesBefore: () => Promise<number>;
}

export interface Started {
  containerId: string;
  template: Template;
  startedAt: Date;
  adopted: boolean;
  /** The container had ended before this worker adopted it. */
  endedUnseen: boolean;
  /** What it prints, from its start on. Undefined if that has to be read from its log. */
  output: IncomingMessage | undefined;
}
