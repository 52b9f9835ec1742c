import { createHash } from 'node:crypto';
import { installationLabels } from './labels.ts';

const NAME_HASH_LENGTH = 40;

export const USER_LABEL = 'chronoverse.user';
export const NAME_LABEL = 'chronoverse.volume';

interface Volume {
  installation: string;
  userId: string;
  name: string;
}

/**
 * The name on the engine: a hash over the installation, the owner and the name that the owner gave.
 * Nobody can think of a name that is another user's volume, another program's, or a path.
 */
export function volumeName({ installation, userId, name }: Volume): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([installation, userId, name]))
    .digest('hex');
  return `chronoverse-${hash.slice(0, NAME_HASH_LENGTH)}`;
}

/** An operator finds the owner of a volume by its labels. */
export function volumeLabels({ installation, userId, name }: Volume): Record<string, string> {
  return { ...installationLabels(installation), [USER_LABEL]: userId, [NAME_LABEL]: name };
}
