import { newId } from '../domain/ids.ts';
import type { Db } from './client.ts';
import { installations } from './schema.ts';

/** The id of the installation that owns this database. The first call creates it. */
export async function getInstallation(db: Db): Promise<string> {
  await db.insert(installations).values({ id: newId() }).onConflictDoNothing();
  const [row] = await db.select({ id: installations.id }).from(installations);
  if (row === undefined) throw new Error('The database does not keep the id of its installation.');
  return row.id;
}
