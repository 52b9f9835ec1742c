import type { ContainerState } from '../../../platform/docker/container-state.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { EngineError, isEngineError } from '../../../platform/docker/errors.ts';
import type { Template } from '../builds/template.ts';

interface User {
  uid: number;
  gid: number;
}

/** The size of the files in which an image names its users. */
const USERS_BYTES_MAX = 1024 * 1024;
/** For all volumes of a container. */
const OWNERS_MS_MAX = 30_000;
const ROOT = 0;

/**
 * Gives the volumes of a container that is not started yet to their owners. The engine makes a
 * volume for root, and without capabilities no program could change that.
 *
 * A volume has the owner that the payload names. Without one, a volume that is empty and root's, as
 * a new one is, goes to the user that the container runs as. So it does not matter which attempt
 * made the volume, and a volume that is in use stays as it is.
 */
export async function setVolumeOwners(
  docker: Docker,
  { id, user = '' }: ContainerState,
  { volumes = [] }: Pick<Template, 'volumes'>,
  leave: AbortSignal,
): Promise<void> {
  const writable = volumes.filter(({ read_only }) => read_only !== true);
  const isUnprivileged = !/^(root|0+)?(:|$)/.test(user);
  const signal = AbortSignal.any([leave, AbortSignal.timeout(OWNERS_MS_MAX)]);
  let asUser: User | undefined;
  for (const { path, owner } of writable) {
    if (owner === undefined && !isUnprivileged) continue;
    const others = volumes.filter((other) => other.path !== path).map((other) => other.path);
    const looksInside = owner === undefined;
    const folder = await docker.folderIn(id, path, { except: others, looksInside, signal });
    if (folder === 'LINK' && owner !== undefined) throw linked(path, owner);
    if (folder === undefined || folder === 'LINK') continue;
    const { uid, gid, mode, isEmpty } = folder;
    let wanted: User | undefined;
    if (owner !== undefined) {
      const [ownUid = uid, ownGid = gid] = owner.split(':').map(Number);
      wanted = { uid: ownUid, gid: ownGid };
    } else if (uid === ROOT && isEmpty) {
      asUser ??= await userIn(docker, id, user, signal);
      wanted = asUser;
    }
    if (wanted === undefined || (wanted.uid === uid && wanted.gid === gid)) continue;
    try {
      await docker.setOwner(id, path, { ...wanted, mode });
    } catch (error) {
      // It lies in a volume or a folder that cannot be written, which only its author can change.
      if (!isEngineError(error, 'DENIED', 'INVALID')) throw error;
      if (owner === undefined) continue; // as engines do without us
      const message = `The volume at ${path} cannot be given to ${owner}: the folder around it cannot be written.`;
      throw new EngineError('INVALID', message, { cause: error, words: error.words });
    }
  }
}

/** The link leads to another folder than the one that the engine gives to an owner. */
function linked(path: string, owner: string): EngineError {
  const message = `The volume at ${path} cannot be given to ${owner}: ${path} is a symbolic link in the image. Mount the volume where the link leads to.`;
  return new EngineError('INVALID', message);
}

/**
 * The ids of the user `name`, `name:group`, or the same with ids, by the files of the image. A user
 * id that these do not name has the group 0, as at the engine.
 */
async function userIn(docker: Docker, id: string, user: string, signal: AbortSignal): Promise<User | undefined> {
  const [name = '', group] = user.split(':');
  const rows = async (path: string) =>
    ((await docker.textIn(id, path, { bytesMax: USERS_BYTES_MAX, signal })) ?? '')
      .split('\n')
      .map((row) => row.split(':'));
  const isNumber = /^\d+$/.test(name);
  const passwd = await rows('/etc/passwd'); // name:password:uid:gid:...
  const found = passwd.find(([one, , uid]) => one === name || (isNumber && Number(uid) === Number(name)));
  const uid = isNumber ? Number(name) : Number(found?.[2] ?? Number.NaN);
  let gid = Number(found?.[3] ?? ROOT);
  if (group !== undefined) {
    const row = (await rows('/etc/group')).find(([one]) => one === group); // name:password:gid:...
    gid = /^\d+$/.test(group) ? Number(group) : Number(row?.[2] ?? Number.NaN);
  }
  // The start says what is wrong with others.
  return isId(uid) && isId(gid) ? { uid, gid } : undefined;
}

/** The engine takes no other id. */
function isId(id: number): boolean {
  return Number.isInteger(id) && id >= 0 && id <= ID_MAX;
}
const ID_MAX = 0x7fff_ffff;
