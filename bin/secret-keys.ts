import type { Db } from '../db/client.ts';
import { recordSecretKey, someSecretOfOldVersion } from '../db/secret-keys.ts';
import type { KeyedSealer } from '../platform/sealer.ts';
import { StartupError } from './startup-error.ts';

/**
 * Refuses keys that cannot read the secrets in this database. Without this, each job with a secret
 * would fail by itself, long after the mistake.
 */
export async function requireSecretKeys(db: Db, sealer: KeyedSealer): Promise<void> {
  const sealed = await someSecretOfOldVersion(db);
  const unknown =
    sealed === undefined || sealer.keyIds.includes(sealer.keyIdOf(sealed))
      ? await recordSecretKey(db, { present: sealer.presentKeyId, known: sealer.keyIds })
      : [sealer.keyIdOf(sealed)];
  if (unknown.length === 0) return;
  const [what, them] = unknown.length === 1 ? ['the key', 'it'] : ['the keys', 'them'];
  throw new StartupError(
    `The secrets in this database are encrypted under ${what} ${unknown.join(' and ')}, and SECRET_KEY is the key ${sealer.presentKeyId}. ` +
      `Set SECRET_KEY to the right key, or name ${them} in SECRET_KEYS_OLD; with an embedded database, the key is the content of DATA_DIR/secret.key. ` +
      `If it is lost, run chronoverse rotate-secrets --lost-keys: workflows whose secrets it held then fail until somebody gives these again.`,
  );
}
