import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { Mask } from '../../../domain/masking/mask.ts';
import type { NetworkPolicy } from '../../../domain/network/networks.ts';
import type { Names } from '../../shared/dns/names.ts';
import type { PlatformChecks } from './platform.ts';

/** What a check is given by the worker that runs it. */
export interface CheckContext {
  allow: NetworkPolicy;
  platform: PlatformChecks;
  /** Ends the check at once; may be shared by any number of checks. */
  signal: AbortSignal;
  /** How names become addresses; the system's way unless given. */
  names?: Names;
  /** Whom to trust for https; the well-known authorities and NODE_EXTRA_CA_CERTS unless given. */
  trust?: SecureContext;
  /** For what the endpoint says: it may say back what was sent to it. */
  mask?: Mask | undefined;
  /** Headers of the payload that were given as secrets, in lower case: they go to the endpoint's own origin alone. */
  secretHeaders?: ReadonlySet<string> | undefined;
}

export interface CheckLine {
  stream: 'STDOUT' | 'STDERR';
  timestamp: Date;
  text: string;
}

export type CheckReason = 'CHECK_FAILED' | 'TIMEOUT' | 'SYSTEM';
export type CheckResult =
  | { ok: true; lines: CheckLine[] }
  | { ok: false; reason: CheckReason; message: string; lines: CheckLine[] };

/** Why a check failed. SYSTEM where the fault is this platform's: it counts against no workflow. */
export class CheckFailure extends Error {
  readonly reason: CheckReason;
  constructor(message: string, reason: CheckReason = 'CHECK_FAILED') {
    super(message);
    this.reason = reason;
  }
}

/** What a check under way has seen, what it waits for, and what it holds open. */
export class Run {
  readonly lines: CheckLine[] = [];
  readonly context: CheckContext;
  readonly names: Names;
  /** What it waits for, to complete "Timed out waiting for ...". */
  waitingFor = 'its start';
  /** Whether that is a name server's answer. */
  resolving = false;
  private readonly held = new Set<Socket>();
  private readonly endings: (() => void)[] = [];
  private ended = false;

  constructor(context: CheckContext, names: Names) {
    this.context = context;
    this.names = names;
  }

  log(text: string, stream: CheckLine['stream'] = 'STDOUT'): void {
    this.lines.push({ stream, timestamp: new Date(), text: this.told(text) });
  }

  /** For a line or a message. Masked before it is cut: of a secret that is cut nothing would be recognised. */
  told(text: string): string {
    return oneLine(this.context.mask?.text(text) ?? text);
  }

  /** Takes `socket` over: it is destroyed when the check ends, whatever became of it. */
  hold<T extends Socket>(socket: T): T {
    this.held.add(socket);
    socket.once('close', () => this.held.delete(socket));
    socket.on('error', () => undefined); // told to whoever waits on it; without a listener it would end the process
    if (this.ended) socket.destroy();
    return socket;
  }

  atEnd(ending: () => void): void {
    if (this.ended) ending();
    else this.endings.push(ending);
  }

  end(): void {
    this.ended = true;
    for (const ending of this.endings) ending();
    for (const socket of this.held) socket.destroy();
  }
}

const LINE_LENGTH_MAX = 1_000;

/** What an endpoint says, fit for a log line and a message: no control characters (the database refuses NUL), bounded. */
export function oneLine(text: string): string {
  const cut = text.length <= LINE_LENGTH_MAX ? text : `${text.slice(0, LINE_LENGTH_MAX)}…`;
  return cut.replace(/[\p{Cc}\p{Cs}]/gu, '\u{fffd}'); // Cs: a surrogate without its other half
}

/** A duration from `since` (performance.now()) to now. */
export function elapsed(since: number): string {
  return `${(performance.now() - since).toFixed(1)} ms`;
}
