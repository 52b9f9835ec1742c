import { changeSecrets } from '../db/accounts/secrets.ts';
import { changeChannelSecrets } from '../db/alert-channels/channels.ts';
import { getInstallation } from '../db/installation.ts';
import { forgetOtherKeys } from '../db/secret-keys.ts';
import { UnreadableSecret } from '../domain/payload/secret.ts';
import type { CommandContext } from './context.ts';
import { openDatabase, startDatabase } from './database.ts';
import { openFolder, openSealer, requireVersion } from './open-parts.ts';

const PROBLEMS_SHOWN_MAX = 10;

/**
 * `chronoverse rotate-secrets`: encrypts every secret under the present key, then ends, with 1 if
 * some could not be read, unless `forgetsLost`. From then on, processes start with the present key
 * alone. Other processes may run at the same time, with the present key and the old ones.
 */
export async function runRotateSecrets(
  context: CommandContext,
  { forgetsLost }: { forgetsLost: boolean },
): Promise<number> {
  const dataDir = context.settings.databaseUrl === undefined ? await openFolder(context) : undefined;
  const sealer = await openSealer(context, dataDir);
  const url = await startDatabase(context, dataDir);
  const { db } = await openDatabase(context, url, 1);
  await requireVersion(db);

  process.exitCode = 1; // if a signal stops it on the way
  let rotated = 0;
  let unreadable = 0;
  const renew = (sealed: string, place: string) => {
    if (sealer.isPresent(sealed)) return sealed;
    try {
      const renewed = sealer.seal(sealer.open(sealed, place), place);
      rotated += 1;
      return renewed;
    } catch (error) {
      if (!(error instanceof UnreadableSecret)) throw error;
      unreadable += 1;
      if (unreadable <= PROBLEMS_SHOWN_MAX) context.log.error(ownerOf(place), error.message);
      return sealed;
    }
  };
  await changeSecrets(db, renew);
  await changeChannelSecrets(db, renew);
  const isDone = unreadable === 0 || forgetsLost;
  if (isDone) {
    await getInstallation(db);
    await forgetOtherKeys(db, sealer.presentKeyId);
  }
  const left = unreadable === 0 ? '' : ` ${unreadable} could not be read, and stay as they are.`;
  context.log.info({ rotated, unreadable }, `secrets: ${rotated} encrypted under the present key.${left}`);
  return isDone ? 0 : 1;
}

/** The workflow or the alert channel that a place belongs to, for the log. */
function ownerOf(place: string): { workflowId: string } | { alertChannelId: string } {
  const [id = '', what] = place.split('\n');
  return what === 'alert channel' ? { alertChannelId: id } : { workflowId: id };
}
