import type { SignUpMode } from '../domain/account/account-input.ts';
import type { UserLimits } from '../domain/limits.ts';
import type { ConnectionBounds } from '../domain/network/connection-bounds.ts';
import type { NetworkPolicy } from '../domain/network/networks.ts';
import type { TrustedProxies } from '../domain/network/trusted-proxies.ts';
import type { ContainerPolicy } from '../domain/payload/container-policy.ts';
import type { ResourceMaximums } from '../domain/payload/container-schema.ts';

/** The settings of the api. */
export interface ApiSettings {
  port: number;
  host: string;
  databaseEmbedded: boolean;
  /** The longest `timeoutSeconds` of a CONTAINER. */
  maxJobSeconds: number;
  /** The resources that a CONTAINER may ask for. Defaults apply where absent. */
  maxResources?: ResourceMaximums;
  /** The networks and builds that a CONTAINER may ask for. All if absent. */
  policy?: ContainerPolicy;
  /** How long log lines are kept. A workflow can ask for less. */
  logRetentionDays?: number;
  /** The proxies whose X-Forwarded-For and X-Forwarded-Proto are believed. None by default. */
  trustProxy?: TrustedProxies;
  /** The origin of the api in browsers, if that is not the address that it listens on. */
  publicUrl?: string;
  /** The origins of other web applications that may use the api. */
  allowedOrigins?: string[];
  /** Whether browsers get GraphiQL. True by default. */
  graphiql?: boolean;
  /** Whether callers can read the schema. True by default. */
  introspection?: boolean;
  /** Who may create an account. By default only the first account can be created. */
  signUp?: SignUpMode;
  /** For how many days an API token is valid at most; 0 means forever. A year by default. */
  apiTokenDaysMax?: number;
  /** How many mutations one user may call in an hour. Defaults apply where absent. */
  mutationsPerUserPerHour?: number;
  /** The networks that alert channels may reach. `public` where absent. */
  alertAllow?: NetworkPolicy;
  /** Whether the operator has said how e-mail is sent. False by default. */
  emailReady?: boolean;
  /** How long the answer to a test of an alert channel waits for a worker. 40 s by default. */
  alertTestMs?: number;
  limits?: Partial<AccountLimits>;
  /** The limits of one user. Defaults apply where absent. */
  userLimits?: Partial<UserLimits>;
  /** How many connections and streams may be open at once. Defaults apply where absent. */
  bounds?: Partial<ConnectionBounds>;
  times?: Partial<ConnectionTimes>;
}

/** Time limits of connections. Tests use shorter ones. */
export interface ConnectionTimes {
  /** A client that takes no byte of an answer for this long is disconnected. */
  unreadMs: number;
  /**
   * How long a client may take for one piece of an answer (at most 2 MB), however slowly it reads.
   */
  pieceMs: number;
  /** A connection that has not moved for this long may be cut when too many bytes are held. */
  stalledMs: number;
}

/** How often credentials may be tried. Hashing a password is expensive on purpose. */
export interface AccountLimits {
  /** From one address. Beyond it only that address has to wait. */
  signInsPerAccountPerMinute: number;
  /** From all addresses together that the account never signed in from. */
  signInsPerAccountFromStrangersPerMinute: number;
  signInsPerAddressPerMinute: number;
  signUpsPerAddressPerHour: number;
  /** Tries of one account, which is already signed in. */
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
/** Sessions of one user. A new one replaces the one that was unused for longest. */
export const SESSIONS_MAX = 100;
