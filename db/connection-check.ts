import { tlsAdvice } from '../domain/network/tls-advice.ts';
import type { Db } from './client.ts';

/** Why the database cannot be used. */
export interface Unreachable {
  message: string;
  /**
   * Whether waiting may help: the server does not exist yet or is still starting. A wrong password
   * stays wrong.
   */
  passes: boolean;
}

/**
 * SQLSTATE classes for which waiting does not help: wrong user or password (28), no such database
 * (3D), missing privilege (42).
 */
const LASTING = ['28', '3D', '42'];

/** Undefined when the database answers now. */
export async function connectionProblem(db: Db): Promise<Unreachable | undefined> {
  try {
    await db.execute('SELECT 1');
    return undefined;
  } catch (error) {
    // Drizzle wraps the driver's error.
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    // An error over several addresses has a code but no message.
    const said = cause instanceof Error ? cause.message || code : String(cause);
    const advice = tlsAdvice(cause, 'DATABASE');
    if (advice !== undefined) return { message: `${said}. ${advice.replace(/\.$/, '')}`, passes: false };
    return { message: said, passes: !(code.length === 5 && LASTING.includes(code.slice(0, 2))) };
  }
}

/**
 * Whether the database was away or took no writes. Then the statement is right, and trying again
 * helps.
 */
export function isOutage(error: unknown): boolean {
  let cause = error;
  for (let depth = 0; depth < CAUSES_MAX && cause instanceof Error && cause.cause instanceof Error; depth += 1)
    cause = cause.cause; // drizzle wraps the driver's error
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  return OUTAGES.has(code) || code.startsWith('08');
}

const CAUSES_MAX = 10;
const OUTAGES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'CONNECT_TIMEOUT',
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  '25006', // read_only_sql_transaction: a standby, or a server that has no room left
  '53300', // too_many_connections
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
]);
