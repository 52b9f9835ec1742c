/**
 * What a process of subscribers opens: `sockets` connections with `perSocket` subscriptions each.
 */
export interface Opening {
  kind: 'WEBSOCKET' | 'SSE';
  port: number;
  token: string;
  query: string;
  /** Subscriber n takes the set n, and begins again behind the last one. */
  variables: object[];
  sockets: number;
  perSocket: number;
  /** Nothing comes before something changes: a subscription counts as open when it is asked for. */
  isSilent?: boolean;
  /** Connects again when the connection breaks, as the recipe in the docs does. */
  reconnects?: boolean;
}

export type Request = { do: 'OPEN'; opening: Opening } | { do: 'MEASURE' } | { do: 'REPORT' } | { do: 'CLOSE' };

export interface Report {
  /** Milliseconds from print to receipt, and how many lines took them, since MEASURE. */
  buckets: [number, number][];
  /** Results and bytes since MEASURE. */
  events: number;
  bytes: number;
  /** Lines that were missing, doubled or out of order, errors, broken connections. */
  problems: number;
  firstProblem: string;
  /** The last line of the subscriber that has fewest. */
  least: number;
  /** When the last connection began to deliver, by the wall clock. */
  resumedAt: number;
}
