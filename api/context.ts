import type { Logger } from 'pino';
import type { Identity } from '../db/accounts/tokens.ts';
import type { Db } from '../db/client.ts';
import type { Sealer } from '../domain/payload/secret.ts';
import type { SharedWork } from '../platform/async/shared-work.ts';
import type { Bus } from '../platform/bus/bus.ts';
import type { Cache } from '../platform/cache/cache.ts';
import type { Docker } from '../platform/docker/docker.ts';
import type { Admission, Asker } from './admission/admission.ts';
import type { AllPlaces } from './admission/places.ts';
import type { RequestWork } from './admission/request-work.ts';
import type { AnswerBudget } from './answer-budget.ts';
import type { AnswerRows } from './answer-rows.ts';
import type { Refusals } from './auth/audit-refusals.ts';
import type { Passwords } from './auth/passwords.ts';
import type { PingTokens } from './auth/ping-token.ts';
import type { Identifier } from './auth/tokens.ts';
import { failure, unauthenticated } from './errors.ts';
import type { Changes } from './live/changes.ts';
import type { Frame } from './live/frame.ts';
import type { Streams } from './live/streams.ts';
import type { Loaders } from './loaders.ts';
import type { LogFeed } from './logs/feed.ts';
import type { LogPages } from './logs/page.ts';
import type { Tails } from './logs/tails.ts';
import type { ApiSettings } from './settings.ts';

/** What all requests of this process share. */
export interface Services {
  /** What an answer reads from: the pool, or a snapshot. */
  db: Db;
  /** Always the pool. */
  pool: Db;
  bus: Bus;
  cache: Cache;
  docker: Pick<Docker, 'isUp' | 'isThere'> | undefined;
  log: Logger;
  settings: ApiSettings;
  /** Encrypts the secrets of payloads before they are stored. */
  sealer: Sealer;
  /** Counts calls that were refused, for the audit. */
  refusals: Refusals;
  identifier: Identifier;
  pingTokens: PingTokens;
  passwords: Passwords;
  changes: Changes;
  logFeed: LogFeed;
  streams: Streams;
  /** The tails of followed logs, and the frames that are being made. */
  tails: Tails;
  frames: SharedWork<Frame | undefined>;
  admission: Admission;
  places: AllPlaces;
}

/** The sender of a request, and what its transport can do besides answering. */
export interface Client {
  address: string;
  /** The User-Agent header. */
  userAgent: string | undefined;
  transport: 'HTTP' | 'WEBSOCKET';
  /**
   * Sets or removes the session cookie of a browser. Does nothing if there is no response to set it
   * on.
   */
  setSession(token: string | undefined): void;
  /** The id of the last event that a stream over HTTP delivered before it broke: a cursor. */
  lastEventId?: string | undefined;
  /** Calls `gone` when the client has left. Absent on a WebSocket, which is closed as a whole. */
  onGone?(gone: () => void): void;
  /**
   * Gives the turn of the operation back before its end: from now on it hardly does more than wait.
   */
  endTurn?(): void;
  /** Over HTTP: the work under way for the request. */
  work?: RequestWork;
}

/** The context of every resolver. */
export interface Context {
  services: Services;
  client: Client;
  asker: Asker;
  viewer: Identity | undefined;
  load: Loaders;
  logPages: LogPages;
  budget: AnswerBudget;
  rows: AnswerRows;
  /** The types of which the answer shows so little that a summary of their rows is enough. */
  summaries: ReadonlySet<string>;
  /** Whether everything is read from one snapshot of the database. */
  isSnapshot: boolean;
}

/** For an operation without a plan, which may show anything. */
export const NO_SUMMARIES: ReadonlySet<string> = new Set();

/** The caller. Throws UNAUTHENTICATED if nobody is signed in. */
export function viewerOf(context: Context): Identity {
  if (!context.viewer) throw unauthenticated();
  return context.viewer;
}

/**
 * The account whose audit events the caller sees; undefined means all accounts. Only an
 * administrator in a session sees all: the token of a program can leak, so it shows nothing of
 * other accounts, and a program that collects all events can read the log.
 */
export function auditedUserOf({ kind, user }: Identity): string | undefined {
  return user.administrator && kind === 'SESSION' ? undefined : user.id;
}

/**
 * Where a subscription goes on: after the last event of the stream that it replaces, which is newer
 * than the argument.
 */
export function resumedAfter({ client }: Context, after: string | null | undefined): string | undefined {
  return client.lastEventId ?? after ?? undefined;
}

/**
 * The context of a subscription, without what its transport added to it, such as the whole request.
 */
export function contextAlone(context: Context): Context {
  const { services, client, asker, viewer, load, logPages, budget, rows, summaries, isSnapshot } = context;
  return { services, client, asker, viewer, load, logPages, budget, rows, summaries, isSnapshot };
}

/**
 * The caller, for operations that API tokens may not do. Throws UNAUTHENTICATED, or FORBIDDEN for
 * an API token.
 */
export function sessionViewerOf(context: Context): Identity {
  const viewer = viewerOf(context);
  if (viewer.kind === 'SESSION') return viewer;
  throw failure(
    'FORBIDDEN',
    'An API token may not do this: sign in with the password, and use the token of that session.',
  );
}
