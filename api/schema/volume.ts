import type { WorkflowRow } from '../../db/schema.ts';
import { deleteVolume, listVolumes, type VolumeDeleted, type VolumeRow } from '../../db/volumes.ts';
import { VOLUME_WORKFLOWS_MAX } from '../../domain/limits.ts';
import { isVolumeName } from '../../domain/payload/container-schema.ts';
import { viewerOf } from '../context.ts';
import { pageOf, windowOf } from '../paging.ts';
import { audited, type Input } from './audited.ts';
import { builder } from './builder.ts';
import { connectionOf, pagingArgs } from './connection.ts';
import { costs, costsOfList, STATEMENT_COST } from './field-cost.ts';
import { refused, UserError, type UserErrorShape } from './user-error.ts';
import { Workflow } from './workflow.ts';

const Volume = builder.objectRef<VolumeRow>('Volume');
Volume.implement({
  description: 'A named volume, which keeps what jobs write to it. It goes when its owner deletes it.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Its name, as payloads give it.' }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When a payload named it for the first time.',
      resolve: ({ createdAt }) => createdAt,
    }),
    lastUsedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When a job mounted it last; null when none has.',
      resolve: ({ lastUsedAt }) => lastUsedAt,
    }),
    sizeBytes: t.exposeFloat('sizeBytes', {
      nullable: true,
      description: 'How large it is, on all engines together: some minutes old; null while no engine has told it.',
    }),
    workflows: t.field({
      type: [Workflow],
      description: `The workflows that name it and have not ended, newest first: ${VOLUME_WORKFLOWS_MAX} at most.`,
      extensions: costsOfList(VOLUME_WORKFLOWS_MAX, STATEMENT_COST),
      resolve: async ({ name }, _, { load }): Promise<WorkflowRow[]> => {
        const rows = await Promise.all((await load.workflowsOfVolume(name)).map((id) => load.workflow(id)));
        return rows.filter((row) => row !== undefined);
      },
    }),
  }),
});

const VolumeConnection = connectionOf<VolumeRow>(Volume, 'Volume', 'newest first');

builder.queryField('volumes', (t) =>
  t.field({
    type: VolumeConnection,
    description: "The viewer's volumes, newest first.",
    args: pagingArgs(),
    extensions: costs(STATEMENT_COST),
    resolve: async (_, args, context) => {
      const { user } = viewerOf(context);
      const window = windowOf(args);
      return pageOf(await listVolumes(context.services.db, user.id, window), window);
    },
  }),
);

interface DeleteResult {
  name?: string;
  userErrors: UserErrorShape[];
}

const DeleteVolumeInput = builder.inputType('DeleteVolumeInput', {
  description: 'A volume to delete, with all that is in it.',
  fields: (t) => ({ name: t.string({ required: true, description: 'Its name.' }) }),
});

const DeleteVolumePayload = builder.objectRef<DeleteResult>('DeleteVolumePayload').implement({
  description: 'What `deleteVolume` answers.',
  fields: (t) => ({
    deletedVolumeName: t.string({
      nullable: true,
      description: 'The name of the deleted volume.',
      resolve: ({ name }) => name,
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What the caller has to change.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('deleteVolume', (t) =>
  t.field({
    type: DeleteVolumePayload,
    description:
      'Deletes a volume that no workflow names and no job mounts. Engines remove it within seconds, when they run; until then its name cannot be given again.',
    args: { input: t.arg({ type: DeleteVolumeInput, required: true, description: 'Which volume.' }) },
    resolve: audited(
      'deleteVolume',
      'WRITE',
      async ({ input: { name } }: Input<typeof DeleteVolumeInput>, context, audit): Promise<DeleteResult> => {
        const { user } = viewerOf(context);
        if (!isVolumeName(name)) return answer(name, { outcome: 'NOT_FOUND' });
        const deleted = await audit.change(
          context.services.db,
          (tx) => deleteVolume(tx, { userId: user.id, name }),
          ({ outcome }) => (outcome === 'DELETED' ? null : undefined), // its name is its key
        );
        return answer(name, deleted);
      },
    ),
  }),
);

function answer(name: string, deleted: VolumeDeleted): DeleteResult {
  switch (deleted.outcome) {
    case 'DELETED':
      return { name, userErrors: [] };
    case 'NOT_FOUND':
      return refused({ code: 'NOT_FOUND', message: 'You have no volume with this name.', path: ['name'] });
    case 'IN_USE':
      return refused({
        code: 'CONFLICT',
        message: `The workflow ${deleted.workflowId} uses this volume: end it or give it another payload first, and wait until its job has ended.`,
        path: ['name'],
      });
  }
}
