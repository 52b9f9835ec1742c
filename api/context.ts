import type { Logger } from 'pino';
import type { Identity } from '../db/accounts/tokens.ts';
import type { Db } from '../db/client.ts';
import type { Sealer } from '../domain/payload/secret.ts';
import type { Bus } from '../platform/bus/bus.ts';
import type { Cache } from '../platform/cache/cache.ts';
import type { Docker } from '../platform/docker/docker.ts';
import type { Admission, Asker } from './admission/admission.ts';
import type { AllPlaces } from './admission/places.ts';
import type { RequestWork } from './admission/request-work.ts';
import type { AnswerBudget } from './answer-budget.ts';
import type { Refusals } from './auth/audit-refusals.ts';
import type { Passwords } from './auth/passwords.ts';
import type { Identifier } from './auth/tokens.ts';
import { failure, unauthenticated } from './errors.ts';
import type { Changes } from './live/changes.ts';
import type { Streams } from './live/streams.ts';
import type { Loaders } from './loaders.ts';
import type { LogFeed } from './logs/feed.ts';
import type { ApiSettings } from './settings.ts';

/** What the whole process shares. */
export interface Services {
  db: Db;
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
  passwords: Passwords;
  changes: Changes;
  logFeed: LogFeed;
  streams: Streams;
  admission: Admission;
  places: AllPlaces;
}

/** Where a request comes from, and how it is answered beside its body. */
export interface Client {
  address: string;
  /** What it calls itself. */
  userAgent: string | undefined;
  transport: 'HTTP' | 'WEBSOCKET';
  /** Hands the browser a session, or takes it away; where there is no response to put it on, does nothing. */
  setSession(token: string | undefined): void;
  /** Calls when the client is not there any more, where there is one response to wait for. */
  onGone?(gone: () => void): void;
  /** Over HTTP: what is done for its request. */
  work?: RequestWork;
}

/** What every resolver is given. */
export interface Context {
  services: Services;
  client: Client;
  asker: Asker;
  viewer: Identity | undefined;
  load: Loaders;
  budget: AnswerBudget;
}

/** Who asks. Throws UNAUTHENTICATED when nobody is signed in. */
export function viewerOf(context: Context): Identity {
  if (!context.viewer) throw unauthenticated();
  return context.viewer;
}

/**
 * Whose audit events the caller sees: its own account's, or all (undefined). All is for an administrator in a session: a program's token, which may
 * leak, shows nothing of other accounts, and a program that collects all events has the log.
 */
export function auditedUserOf({ kind, user }: Identity): string | undefined {
  return user.administrator && kind === 'SESSION' ? undefined : user.id;
}

/** The context of an operation that lasts, without what its transport has put beside it: the request as it came, for one. */
export function contextAlone({ services, client, asker, viewer, load, budget }: Context): Context {
  return { services, client, asker, viewer, load, budget };
}

/** Who asks with a session: what an API token, which programs hold, may not do. Throws UNAUTHENTICATED, or FORBIDDEN for an API token. */
export function sessionViewerOf(context: Context): Identity {
  const viewer = viewerOf(context);
  if (viewer.kind === 'SESSION') return viewer;
  throw failure(
    'FORBIDDEN',
    'An API token may not do this: sign in with the password, and use the token of that session.',
  );
}
