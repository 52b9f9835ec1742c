import { sql } from 'drizzle-orm';
import { LEASE_SECONDS } from '../domain/limits.ts';
import type { Instant } from '../platform/async/instant.ts';
import { seconds } from './arrays.ts';

/**
 * Names the lease of a job or a build: a statement that presents it changes nothing where it is
 * lost.
 */
export interface LeaseKey {
  id: string;
  leaseToken: string;
}

/** A lease that was just taken. */
export interface Lease extends LeaseKey {
  /**
   * The moment before the database was asked for it. The worker counts the time of the lease from
   * here, because the answer may come late.
   */
  askedAt: Instant;
}

/** Counted from the statement, not from its transaction, which may have begun long before. */
export const LEASE_END = sql`clock_timestamp() + ${seconds(LEASE_SECONDS)}`;
