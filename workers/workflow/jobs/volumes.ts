import { createHash } from 'node:crypto';
import type { Mount } from '../../../platform/docker/confinement.ts';
import type { Template } from '../builds/template.ts';

const HASH_LENGTH = 40;

export const USER_LABEL = 'chronoverse.user';
export const NAME_LABEL = 'chronoverse.volume';

/**
 * The volumes of a template, by their names on the engine. Such a name is a hash over the installation, the owner and the name that the
 * owner gave, so that no name that anybody can think of is another user's volume, another program's, or a path.
 */
export function mountsOf(
  { userId }: { userId: string },
  { volumes = [] }: Pick<Template, 'volumes'>,
  installation: string,
): Mount[] {
  return volumes.map(({ name, path, read_only }) => ({
    volume: volumeName({ installation, userId, name }),
    path,
    readOnly: read_only === true,
    labels: volumeLabels({ installation, userId, name }),
  }));
}

interface Volume {
  installation: string;
  userId: string;
  name: string;
}

export function volumeName({ installation, userId, name }: Volume): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([installation, userId, name]))
    .digest('hex');
  return `chronoverse-${hash.slice(0, HASH_LENGTH)}`;
}

/** By which an operator finds whose a volume is. */
export function volumeLabels({ installation, userId, name }: Volume): Record<string, string> {
  return { 'chronoverse.installation': installation, [USER_LABEL]: userId, [NAME_LABEL]: name };
}
