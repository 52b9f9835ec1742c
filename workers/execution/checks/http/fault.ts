import type { Run } from '../run.ts';

const CLOSED = 'the connection was closed';

const FAULTS: Record<string, string> = {
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was reset',
  ERR_STREAM_PREMATURE_CLOSE: CLOSED,
  ERR_STREAM_DESTROYED: CLOSED,
};

/** Why the present connection of `run` ended, in words that can follow a colon or an "and". */
export function connectionFault(run: Run, error: unknown): string {
  return (error instanceof Error ? run.faultWords(error) : undefined) ?? faultOf(error);
}

/** What an error says, with its code. */
export function faultOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  if (code === undefined) return error.message;
  const known = FAULTS[code];
  if (known === CLOSED) return known;
  const said = known ?? error.message;
  return said.includes(code) ? said : `${said} (${code})`;
}

/** The error of a connection that the other end closes too soon. */
export class Closed extends Error {
  constructor() {
    super(CLOSED);
  }
}
