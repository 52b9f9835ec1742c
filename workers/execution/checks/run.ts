import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { Mask } from '../../../domain/masking/mask.ts';
import type { NetworkPolicy } from '../../../domain/network/networks.ts';
import type { Names } from '../../shared/dns/names.ts';

/** The context that the worker gives the check of an endpoint. */
export interface EndpointContext {
  allow: NetworkPolicy;
  /** Ends the check at once. Any number of checks may share it. */
  signal: AbortSignal;
  /** Resolves names. Default: the system's way. */
  names?: Names;
  /** The trusted authorities for https. Default: the well-known ones and NODE_EXTRA_CA_CERTS. */
  trust?: SecureContext;
  /** Masks what the endpoint says: it may repeat what it received. */
  mask?: Mask | undefined;
  /**
   * Headers that the payload gives as secrets, in lower case. They go only to the endpoint's own
   * origin.
   */
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

/**
 * Why a check failed. SYSTEM means that the platform is at fault: it counts against no workflow.
 */
export class CheckFailure extends Error {
  readonly reason: CheckReason;
  constructor(message: string, reason: CheckReason = 'CHECK_FAILED') {
    super(message);
    this.reason = reason;
  }
}

/** What a running check has seen, waits for, and holds open. */
export class Run {
  readonly lines: CheckLine[] = [];
  readonly context: EndpointContext;
  readonly names: Names;
  /** Completes "Timed out waiting for ...". */
  waitingFor = 'its start';
  /** Whether it waits for a name server's answer. */
  resolving = false;
  private readonly held = new Set<Socket>();
  private readonly onEnd: (() => void)[] = [];
  private ended = false;

  constructor(context: EndpointContext, names: Names) {
    this.context = context;
    this.names = names;
  }

  log(text: string, stream: CheckLine['stream'] = 'STDOUT'): void {
    this.lines.push({ stream, timestamp: new Date(), text: this.masked(text) });
  }

  /**
   * For a line or a message. Masks before it cuts, because a part of a secret would not be
   * recognised.
   */
  masked(text: string): string {
    return oneLine(this.context.mask?.text(text) ?? text);
  }

  /** Takes `socket` over: the socket is destroyed when the check ends, whatever its state. */
  hold<T extends Socket>(socket: T): T {
    this.held.add(socket);
    socket.once('close', () => this.held.delete(socket));
    // Its waiter gets it too; without a listener the error would end the process.
    socket.on('error', () => undefined);
    if (this.ended) socket.destroy();
    return socket;
  }

  atEnd(ending: () => void): void {
    if (this.ended) ending();
    else this.onEnd.push(ending);
  }

  end(): void {
    this.ended = true;
    for (const ending of this.onEnd) ending();
    for (const socket of this.held) socket.destroy();
  }
}

const LINE_LENGTH_MAX = 1_000;

/**
 * An endpoint's text, safe for a log line and a message: without control characters (the database
 * refuses NUL) and bounded.
 */
export function oneLine(text: string): string {
  const cut = text.length <= LINE_LENGTH_MAX ? text : `${text.slice(0, LINE_LENGTH_MAX)}…`;
  return cut.replace(/[\p{Cc}\p{Cs}]/gu, '\u{fffd}'); // Cs: a surrogate without its other half
}

/** The time from `since` (performance.now()) to now. */
export function elapsed(since: number): string {
  return `${(performance.now() - since).toFixed(1)} ms`;
}
