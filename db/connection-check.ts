import { tlsAdvice } from '../domain/network/tls-advice.ts';
import { isOutage } from '../platform/postgres/outage.ts';
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
    if (/disconnected before secure TLS/.test(said)) return { message: NO_TLS, passes: true };
    if (advice !== undefined) return { message: `${said}. ${advice.replace(/\.$/, '')}`, passes: false };
    return { message: said, passes: !(code.length === 5 && LASTING.includes(code.slice(0, 2))) };
  }
}

/** The driver asks the server for TLS first, and does not see that it says no. */
const NO_TLS = 'it offers no TLS, or broke the connection off; without TLS it takes ?sslmode=disable';

/**
 * Why the database refused a statement that is right, and what helps. Undefined for another error,
 * which may be a fault of this program.
 */
export function refusalOf(error: unknown): (Unreachable & { advice: string }) | undefined {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error) || !('code' in cause)) return undefined;
  const code = String(cause.code);
  const message = `${cause.message || code} (${code})`;
  const advice = ADVICE[code];
  if (advice !== undefined) return { message, passes: false, advice };
  return isOutage(error) ? { message, passes: true, advice: 'Start again when it can be reached.' } : undefined;
}

const ADVICE: Record<string, string> = {
  '42501':
    'Give its user the right to create tables in its schema, for example by making it the owner of the database.',
  '3F000': 'It has no schema for tables: make one, and name it in search_path if it is not called public.',
  '25006': 'It takes no writes now: name the primary server in DATABASE_URL.',
  '53100': 'Its disk is full: make room.',
};
