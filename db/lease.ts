import { sql } from 'drizzle-orm';
import { LEASE_SECONDS } from '../domain/limits.ts';
import type { Instant } from '../platform/async/instant.ts';
import { seconds } from './arrays.ts';

/** Names the lease of a job or a build. A statement that presents a lost lease changes nothing. */
export interface LeaseKey {
  id: string;
  leaseToken: string;
}

/** A lease that was just taken. */
export interface Lease extends LeaseKey {
  /**
   * The moment before the request to the database. The worker counts the time of the lease from
   * here, because the answer may come late.
   */
  askedAt: Instant;
}

/** Counted from the statement; its transaction may have begun long before. */
export const LEASE_END = sql`clock_timestamp() + ${seconds(LEASE_SECONDS)}`;
