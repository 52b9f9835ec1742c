/**
 * How much may be open at once on one api process. Each bound is a setting;
 * docs/operate/connections.md says what counts where.
 */
export interface ConnectionBounds {
  connections: number;
  connectionsPerAddress: number;
  /** Connections of one user that have a request under way. */
  connectionsPerUser: number;
  /**
   * Connections without a user. The bound holds once for HTTP requests under way that carry no
   * token, and once for WebSockets whose connection_init carried none.
   */
  anonymous: number;
  anonymousPerAddress: number;
  webSockets: number;
  webSocketsPerAddress: number;
  webSocketsPerUser: number;
  /** Subscriptions over WebSockets and SSE, and downloads. */
  streams: number;
  streamsPerAddress: number;
  streamsPerUser: number;
}

/** A thousand subscribers of one user fit several times, each on its own socket, at one address. */
export const CONNECTION_BOUNDS: ConnectionBounds = {
  connections: 10_000,
  connectionsPerAddress: 3_000,
  connectionsPerUser: 1_000,
  anonymous: 1_000,
  anonymousPerAddress: 50,
  webSockets: 8_000,
  webSocketsPerAddress: 2_500,
  webSocketsPerUser: 2_000,
  streams: 20_000,
  streamsPerAddress: 5_000,
  streamsPerUser: 4_000,
};
