import { sql } from 'drizzle-orm';
import { array } from './arrays.ts';
import type { Db } from './client.ts';

/**
 * Records that secrets are encrypted under the key `present`, if the caller knows every key that
 * was recorded before. Otherwise it records nothing and returns the ids of the keys that are not in
 * `known`. One statement, so that of two processes with different keys one is refused.
 */
export async function recordSecretKey(
  db: Db,
  { present, known }: { present: string; known: string[] },
): Promise<string[]> {
  const ids = array(known, 'text');
  const rows = await db.execute(sql`
    UPDATE /* recordSecretKey */ installations SET secret_key_ids = CASE
      WHEN ${present} = ANY(secret_key_ids) THEN secret_key_ids ELSE secret_key_ids || ${present}::text END
    WHERE only_row AND secret_key_ids <@ ${ids} RETURNING 1`);
  if (rows.length > 0) return [];
  const [row] = await db.execute<{ unknown: string[] }>(sql`
    SELECT /* recordSecretKey */ ARRAY(SELECT unnest(secret_key_ids) EXCEPT SELECT unnest(${ids})) AS unknown FROM installations`);
  return row?.unknown ?? [];
}

/** Only this key counts from now on: nothing that can still be read is encrypted under another. */
export async function forgetOtherKeys(db: Db, present: string): Promise<void> {
  await db.execute(sql`
    UPDATE /* forgetOtherKeys */ installations SET secret_key_ids = ARRAY[${present}::text] WHERE only_row`);
}

/**
 * Some stored secret, sealed, of a database that has recorded no key yet: it comes from a version
 * before 0.3, or is new. Reads all payloads if none holds a secret.
 */
export async function someSecretOfOldVersion(db: Db): Promise<string | undefined> {
  const [row] = await db.execute<{ sealed: string }>(sql`
    SELECT /* someSecretOfOldVersion */ substring(payload::text FROM '"sealed": "(s1[.][0-9a-f]{12}[.][^"]+)"') AS sealed FROM payloads
    WHERE (SELECT secret_key_ids = '{}' FROM installations) AND payload::text LIKE '%"sealed": "s1.%' LIMIT 1`);
  return row?.sealed;
}
