/**
 * Whether the database was away or took no writes. Then the statement is right, and trying again
 * helps.
 */
export function isOutage(error: unknown): boolean {
  return isOutageCode(codeOf(rootOf(error)));
}

/**
 * Whether it is surely the database that was away: an engine or a registry that is away gives codes
 * such as ECONNREFUSED too.
 */
export function isDatabaseOutage(error: unknown): boolean {
  const code = codeOf(rootOf(error));
  return isOutageCode(code) && (!SHARED_CODE.test(code) || isOfStatement(error));
}

/** Drizzle wraps the driver's error, and names the statement. */
function isOfStatement(error: unknown): boolean {
  return causesOf(error).some((cause) => cause instanceof Error && cause.message.startsWith('Failed query: '));
}

function rootOf(error: unknown): unknown {
  return causesOf(error).at(-1);
}

function causesOf(error: unknown): unknown[] {
  const causes = [error];
  for (let cause = error; causes.length < CAUSES_MAX && cause instanceof Error && cause.cause instanceof Error; ) {
    cause = cause.cause;
    causes.push(cause);
  }
  return causes;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function isOutageCode(code: string): boolean {
  return OUTAGES.has(code) || code.startsWith('08');
}

const CAUSES_MAX = 10;
/** Node's own codes, which any connection may fail with. */
const SHARED_CODE = /^E[A-Z_]+$/;
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
