import type { WorkflowRow } from '../../db/schema.ts';
import { countVolumes, deleteVolume, listVolumes, type VolumeDeleted, type VolumeRow } from '../../db/volumes.ts';
import { COUNTED_MAX, VOLUME_WORKFLOWS_MAX } from '../../domain/limits.ts';
import { isVolumeName } from '../../domain/payload/container-schema.ts';
import { viewerOf } from '../context.ts';
import { counted, PAGE_SIZE, pageOf, windowOf } from '../paging.ts';
import { builder } from './builder.ts';
import { countedConnectionOf, pagingArgs } from './connection.ts';
import { cost, STATEMENT_COST } from './cost.ts';
import { mutation } from './mutation.ts';
import { refused } from './user-error.ts';
import { Workflow } from './workflow.ts';

const Volume = builder.objectRef<VolumeRow>('Volume');
Volume.implement({
  description: 'A named volume, which keeps what jobs write to it until you delete it.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'The name of the volume in payloads.' }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When a payload first named the volume.',
      resolve: ({ createdAt }) => createdAt,
    }),
    lastUsedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When a job last mounted the volume. Null if none ever did.',
      resolve: ({ lastUsedAt }) => lastUsedAt,
    }),
    sizeBytes: t.exposeFloat('sizeBytes', {
      nullable: true,
      description:
        'The size in bytes on all engines together, a few minutes old. Null until an engine has reported it.',
    }),
    workflows: t.field({
      type: [Workflow],
      description: `The workflows that name the volume and are not terminated, newest first: at most ${VOLUME_WORKFLOWS_MAX}.`,
      extensions: cost({ base: STATEMENT_COST, itemsMax: VOLUME_WORKFLOWS_MAX }),
      resolve: async ({ name }, _, { load }): Promise<WorkflowRow[]> => {
        const rows = await Promise.all((await load.workflowsOfVolume(name)).map((id) => load.workflow(id)));
        return rows.filter((row) => row !== undefined);
      },
    }),
  }),
});

const VolumeConnection = countedConnectionOf<VolumeRow>(Volume, 'Volume', 'newest first');

builder.queryField('volumes', (t) =>
  t.field({
    type: VolumeConnection,
    description: 'Your volumes, newest first.',
    args: pagingArgs(),
    extensions: cost({ base: STATEMENT_COST, pageSize: PAGE_SIZE }),
    resolve: async (_, args, context) => {
      const { user } = viewerOf(context);
      const window = windowOf(args);
      const { db } = context.services;
      const page = pageOf(await listVolumes(db, user.id, window), window);
      return counted(page, () => countVolumes(db, user.id, COUNTED_MAX));
    },
  }),
);

mutation('deleteVolume', 'WRITE', {
  description:
    'Deletes a volume that no workflow names and no job mounts, with everything in it. Engines remove it within seconds while they run; until then its name cannot be used again.',
  input: (t) => ({ name: t.string({ required: true, description: 'The name of the volume.' }) }),
  payload: { deletedVolumeName: { type: 'String', description: 'The name of the deleted volume.' } },
  resolve: async ({ input: { name }, viewer: { user }, change }) => {
    if (!isVolumeName(name)) return answer(name, { outcome: 'NOT_FOUND' });
    const deleted = await change(
      (tx) => deleteVolume(tx, { userId: user.id, name }),
      ({ outcome }) => (outcome === 'DELETED' ? null : undefined), // its name is its key
    );
    return answer(name, deleted);
  },
});

function answer(name: string, deleted: VolumeDeleted) {
  switch (deleted.outcome) {
    case 'DELETED':
      return { deletedVolumeName: name };
    case 'NOT_FOUND':
      return refused({ code: 'NOT_FOUND', message: 'You have no volume with this name.', path: ['name'] });
    case 'IN_USE':
      return refused({
        code: 'CONFLICT',
        message: `The workflow ${deleted.workflowId} uses this volume: terminate it or give it another payload first, and wait until its job has ended.`,
        path: ['name'],
      });
  }
}
