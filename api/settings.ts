import type { SignUpMode } from '../domain/account/account-input.ts';
import type { UserLimits } from '../domain/limits.ts';
import type { ConnectionBounds } from '../domain/network/connection-bounds.ts';
import type { TrustedProxies } from '../domain/network/trusted-proxies.ts';
import type { ContainerPolicy } from '../domain/payload/container-policy.ts';
import type { ResourceMaximums } from '../domain/payload/container-schema.ts';

/** What the process tells the api. */
export interface ApiSettings {
  port: number;
  host: string;
  databaseEmbedded: boolean;
  /** The longest time-out that a CONTAINER may ask for. */
  maxJobSeconds: number;
  /** What a CONTAINER may ask for, where it is not the default. */
  maxResources?: ResourceMaximums;
  /** Which networks and builds a CONTAINER may ask for, where it is not all. */
  policy?: ContainerPolicy;
  /** How long log lines are kept: a workflow may ask for less. */
  logRetentionDays?: number;
  /** Whose X-Forwarded-For and X-Forwarded-Proto are believed; nobody's by default. */
  trustProxy?: TrustedProxies;
  /** The origin under which browsers reach the api, where it is not the address that is listened on. */
  publicUrl?: string;
  /** Of web applications at other addresses. */
  allowedOrigins?: string[];
  /** Whether browsers are given GraphiQL; unless false. */
  graphiql?: boolean;
  /** Whether the schema can be asked for; unless false. */
  introspection?: boolean;
  /** Who may make an account; the first alone unless given. */
  signUp?: SignUpMode;
  /** How many days an API token is valid at most; 0: for ever. A year unless given. */
  apiTokenDaysMax?: number;
  /** How many mutations one user may call in an hour, where it is not the default. */
  mutationsPerUserPerHour?: number;
  limits?: Partial<AccountLimits>;
  /** What one user may have, where it is not the default. */
  userLimits?: Partial<UserLimits>;
  /** How much may be open at once, where it is not the default. */
  bounds?: Partial<ConnectionBounds>;
  times?: Partial<ConnectionTimes>;
}

/** Bounds in time; tests take shorter ones. */
export interface ConnectionTimes {
  /** A client that takes no byte of an answer for so long is cut. */
  unreadMs: number;
  /** So long a client may take for one piece of an answer (2 MB at most), however it dribbles. */
  pieceMs: number;
  /** What has not moved for so long may be cut where too many bytes are held. */
  stalledMs: number;
}

/** How often credentials may be tried: hashing a password is expensive on purpose. */
export interface AccountLimits {
  /** From one address: beyond it that address waits, and nobody else. */
  signInsPerAccountPerMinute: number;
  /** From all addresses together from which the account did not sign in before. */
  signInsPerAccountFromStrangersPerMinute: number;
  signInsPerAddressPerMinute: number;
  signUpsPerAddressPerHour: number;
  /** Tries of one account, which is signed in already. */
  passwordChangesPerMinute: number;
}

export const ACCOUNT_LIMITS: AccountLimits = {
  signInsPerAccountPerMinute: 10,
  signInsPerAccountFromStrangersPerMinute: 60,
  signInsPerAddressPerMinute: 30,
  signUpsPerAddressPerHour: 20,
  passwordChangesPerMinute: 10,
};

export const SESSION_DAYS = 30;
/** Of one user; the one that was not used for longest makes room. */
export const SESSIONS_MAX = 100;
