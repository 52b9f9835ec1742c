import { and, desc, eq, notInArray, sql } from 'drizzle-orm';
import type { Db } from '../client.ts';
import { knownAddresses } from '../schema.ts';

/** Notes that the account signed in from `address`. The last 20 addresses stay known. */
export async function noteAddress(
  db: Pick<Db, 'insert' | 'delete' | 'select'>,
  userId: string,
  address: string,
): Promise<void> {
  await db
    .insert(knownAddresses)
    .values({ userId, address })
    .onConflictDoUpdate({
      target: [knownAddresses.userId, knownAddresses.address],
      set: { lastUsedAt: sql`now()` },
    });
  const kept = db
    .select({ address: knownAddresses.address })
    .from(knownAddresses)
    .where(eq(knownAddresses.userId, userId))
    .orderBy(desc(knownAddresses.lastUsedAt))
    .limit(KNOWN_ADDRESSES_MAX);
  await db
    .delete(knownAddresses)
    .where(and(eq(knownAddresses.userId, userId), notInArray(knownAddresses.address, kept)));
}

const KNOWN_ADDRESSES_MAX = 20;
