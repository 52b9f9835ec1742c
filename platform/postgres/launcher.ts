import { execFile, type SpawnOptions } from 'node:child_process';
import { chown, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** How this process starts a program of PostgreSQL. */
export interface Launcher {
  command(program: string, args: string[]): { file: string; args: string[]; options: SpawnOptions };
  /** Gives a file or folder to the user that the programs run as. */
  own(path: string): Promise<void>;
}

interface Account {
  uid: number;
  gid: number;
}

/**
 * PostgreSQL refuses to run as root. If this process is root, PostgreSQL runs as the owner of the
 * data. If the data folder is root's, or not made yet, it runs as `postgres`, or else as
 * `chronoverse`, which is made if it does not exist. On Linux, a signal stops the server when this
 * process is killed (setpriv's pdeathsig).
 */
export async function createLauncher({ folder, program }: { folder: string; program: string }): Promise<Launcher> {
  const account = process.getuid?.() === 0 ? await findAccount(folder) : undefined;
  const setpriv = await hasSetpriv();
  const closed = account === undefined ? undefined : await findClosedFolder([folder, program], account);
  if (closed !== undefined && !setpriv) {
    throw new Error(
      `PostgreSQL does not run as root, and ${closed} is closed to every other user: start as another user, or run chmod o+x ${closed}`,
    );
  }
  return {
    command(file, args) {
      if (!setpriv) return { file, args, options: { ...account } };
      const passes = closed === undefined ? [] : ['--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
      const becomes =
        account === undefined ? [] : [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups', ...passes];
      return { file: 'setpriv', args: [...becomes, '--pdeathsig=INT', '--', file, ...args], options: {} };
    },
    own: async (path) => (account === undefined ? undefined : chown(path, account.uid, account.gid)),
  };
}

async function findAccount(folder: string): Promise<Account> {
  const owner = await stat(folder).catch(() => undefined); // not made yet
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const known = (await lookUp('postgres')) ?? (await lookUp('chronoverse'));
  if (known !== undefined) return known;
  try {
    await run('useradd', ['--system', '--no-create-home', '--user-group', 'chronoverse']);
  } catch (error) {
    throw new Error('PostgreSQL does not run as root, and no user could be made for it: start as another user.', {
      cause: error,
    });
  }
  const made = await lookUp('chronoverse');
  if (made === undefined) throw new Error('The user chronoverse was made and is not there: start as another user.');
  return made;
}

async function lookUp(name: string): Promise<Account | undefined> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined; // there is no such user
  }
}

/** The first folder on the way to one of `paths` that `account` may not enter, such as /root. */
async function findClosedFolder(paths: string[], account: Account): Promise<string | undefined> {
  for (const path of paths) {
    for (let at = dirname(resolve(path)); at !== dirname(at); at = dirname(at)) {
      const { mode, uid } = await stat(at);
      if ((mode & 0o001) === 0 && !(uid === account.uid && (mode & 0o100) !== 0)) return at;
    }
  }
  return undefined;
}

/**
 * Whether setpriv can set pdeathsig. util-linux brings it on every Debian. BusyBox has a setpriv
 * without pdeathsig, and macOS has none.
 */
async function hasSetpriv(): Promise<boolean> {
  try {
    await run('setpriv', ['--pdeathsig=INT', '--', 'true']);
    return true;
  } catch {
    return false; // then the next start finds a server that outlived a killed process
  }
}
