import type { Logger } from 'pino';
import { noteEngineImage, noteImageUse } from '../../../db/builds/engine-images.ts';
import type { Db } from '../../../db/client.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';

/** Images that this installation brings onto the engine, so that a sweep may remove them again. */
export interface OwnImages {
  /** What is on the engine before a pull. Undefined if nobody can know. */
  lookAround(): Promise<Before | undefined>;
  /** Notes which image a pull has brought, and under which names. */
  notePull(imageId: string, before: Before | undefined): Promise<void>;
  /**
   * Notes that a build or a job is about to use an image. Waits while a sweep decides about it, so
   * look afterwards whether it is there.
   */
  noteUse(imageId: string): Promise<void>;
}

/** The full names of each image, by its id. */
type Before = Map<string, string[]>;

export function createOwnImages({ db, docker, log }: { db: Db; docker: Docker; log: Logger }): OwnImages {
  return {
    async lookAround() {
      try {
        return await docker.listNames();
      } catch (error) {
        if (!isEngineError(error) || error.passes) throw error;
        log.warn({ err: error }, 'The images on the engine cannot be listed: what is pulled now is never removed.');
        return undefined;
      }
    },

    async notePull(imageId, before) {
      const now = before && (await docker.lookAt(imageId));
      if (before === undefined || now === undefined) return;
      const had = before.get(imageId);
      const names = now.names.filter((name) => !had?.includes(name));
      await noteEngineImage(db, { engineId: await docker.storeId(), imageId, names, isNew: had === undefined });
    },

    async noteUse(imageId) {
      await noteImageUse(db, { engineId: await docker.storeId(), imageId });
    },
  };
}
