import type { Socket } from 'node:net';
import type { Mask } from '../../../domain/masking/mask.ts';
import type { NetworkPolicy } from '../../../domain/network/networks.ts';
import type { FairPlaces } from '../../../platform/async/fair-places.ts';
import type { Names } from '../../shared/dns/names.ts';
import type { Connectivity, Suspect } from '../network/connectivity.ts';
import type { Trust } from './trust.ts';

/** The context that the worker gives the check of an endpoint. */
export interface EndpointContext {
  allow: NetworkPolicy;
  /** Completes "192.0.2.1 ..." for what `allow` refuses. Default: in the words of heartbeats. */
  unreachable?: string;
  /** Ends the check at once. Any number of checks may share it. */
  signal: AbortSignal;
  /** Whose check it is. */
  userId?: string;
  /** Resolves names. Default: the system's way. */
  names?: Names;
  /** Knows whether this machine's network works. Default: by its gateway and by other checks. */
  connectivity?: Connectivity;
  /** The trusted authorities for https. Default: the well-known ones and NODE_EXTRA_CA_CERTS. */
  trust?: Trust;
  /** Receives the lines as they come. */
  lines?: CheckLine[];
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
  | {
      ok: false;
      reason: CheckReason;
      message: string;
      lines: CheckLine[];
      /** No run policy retries it. */
      isFinal?: true;
    };

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

/**
 * A failure that may be this machine's fault: `suspect` says what to find out before the reason is
 * known. Then it is SYSTEM, and says why.
 */
export class UnclearFailure extends CheckFailure {
  readonly suspect: Doubt;
  constructor(message: string, reason: CheckReason, suspect: Doubt) {
    super(message, reason);
    this.suspect = suspect;
  }
}

/** With `name`, it is the name that did not resolve. */
export interface Doubt extends Suspect {
  name?: string;
  /** A name server answered for it, but not what was asked. */
  isAnswered?: boolean;
}

/** What a running check has seen, waits for, and holds open. */
export class Run {
  readonly lines: CheckLine[];
  readonly context: EndpointContext;
  readonly names: Names;
  readonly connectivity: Connectivity;
  /** Completes "Timed out waiting for ...". A function says what has come until then. */
  waitingFor: string | (() => string) = 'its start';
  /** Whether this worker has not got to it yet: then a time-out is SYSTEM. */
  waitsForTurn = false;
  /** What to find out about this machine when that does not come in time. */
  suspect: Doubt | undefined;
  /** Says a fault of the present connection in plain words, where those are better than Node's. */
  faultWords: (error: NodeJS.ErrnoException) => string | undefined = () => undefined;
  private readonly held = new Set<Socket>();
  private readonly onEnd: (() => void)[] = [];
  private ended = false;

  constructor(context: EndpointContext, { names, connectivity }: { names: Names; connectivity: Connectivity }) {
    this.context = context;
    this.lines = context.lines ?? [];
    this.names = context.names ?? names;
    this.connectivity = context.connectivity ?? connectivity;
  }

  /** After its end a check says nothing more but why it failed. */
  log(text: string, stream: CheckLine['stream'] = 'STDOUT'): void {
    if (this.ended) return;
    this.lines.push({ stream, timestamp: new Date(), text: this.masked(text) });
  }

  /** The last line, before its caller counts the lines. */
  logFailure(message: string): void {
    this.lines.push({ stream: 'STDERR', timestamp: new Date(), text: this.masked(message) });
  }

  /**
   * For a line or a message. Masks before it cuts, because a part of a secret would not be
   * recognised.
   */
  masked(text: string): string {
    return oneLine(this.context.mask?.text(text) ?? text);
  }

  /**
   * A part of a message that an endpoint chooses, such as a long address: the rest of the message
   * must have room.
   */
  shortened(text: string, lengthMax: number): string {
    const masked = this.masked(text);
    return masked.length <= lengthMax ? masked : `${masked.slice(0, lengthMax)}…`;
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

  /** Waits for a turn that this worker gives, in its time-out: `what` completes "waiting for". */
  async turn<T>(what: string, coming: Promise<T>): Promise<T> {
    const { waitingFor } = this;
    this.waitingFor = what;
    this.waitsForTurn = true;
    try {
      return await coming;
    } finally {
      this.waitingFor = waitingFor;
      this.waitsForTurn = false;
    }
  }

  /**
   * Takes `count` of `places`, which the users share, until the returned function is called or the
   * check ends. Rejects when it ends first.
   */
  async takePlaces(places: FairPlaces, count: number, what: string): Promise<() => void> {
    const { promise, cancel } = places.acquire(this.context.userId ?? '', count);
    this.atEnd(cancel);
    return this.turn(what, promise);
  }

  atEnd(ending: () => void): void {
    if (this.ended) ending();
    else this.onEnd.push(ending);
  }

  end(): void {
    if (this.ended) return;
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

/** The time from `since` (performance.now()) to `until`, or to now. */
export function elapsed(since: number, until = performance.now()): string {
  return `${(until - since).toFixed(1)} ms`;
}
