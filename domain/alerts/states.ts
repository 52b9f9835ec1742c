/** What an alert reports. A channel names those that it wants. */
export const ALERT_EVENTS = [
  'WORKFLOW_FAILING',
  'WORKFLOW_RECOVERED',
  'WORKFLOW_TERMINATED',
  'WORKFLOW_BUILD_FAILED',
  'JOB_FAILED',
  'JOB_COMPLETED',
  'CHANNEL_DISABLED',
  'PLATFORM_OUTAGE',
  'PLATFORM_RECOVERED',
] as const;
export type AlertEvent = (typeof ALERT_EVENTS)[number];

/** What a new channel reports, unless its owner says otherwise. */
export const DEFAULT_ALERT_EVENTS: readonly AlertEvent[] = [
  'WORKFLOW_FAILING',
  'WORKFLOW_RECOVERED',
  'WORKFLOW_TERMINATED',
  'WORKFLOW_BUILD_FAILED',
  'CHANNEL_DISABLED',
  'PLATFORM_OUTAGE',
  'PLATFORM_RECOVERED',
];

/**
 * What is out. NETWORK: that of a machine with an execution worker. ENGINE: the Docker engine of a
 * workflow worker.
 */
export const OUTAGE_KINDS = ['NETWORK', 'ENGINE'] as const;
export type OutageKind = (typeof OUTAGE_KINDS)[number];

/** GONE: nobody looks at it any more, so nobody knows whether it works. */
export const OUTAGE_RESOLUTIONS = ['RECOVERED', 'GONE'] as const;
export type OutageResolution = (typeof OUTAGE_RESOLUTIONS)[number];

export const ALERT_CHANNEL_KINDS = ['WEBHOOK', 'EMAIL', 'SLACK', 'DISCORD', 'NTFY'] as const;
export type AlertChannelKind = (typeof ALERT_CHANNEL_KINDS)[number];

/** UNCONFIRMED: nothing is sent but a confirmation code. DISABLED: nothing is sent. */
export const ALERT_CHANNEL_STATES = ['UNCONFIRMED', 'ACTIVE', 'DISABLED'] as const;
export type AlertChannelState = (typeof ALERT_CHANNEL_STATES)[number];

/**
 * MERGED: another message of the same channel reports it too. SUPPRESSED: the workflow was muted.
 * EXPIRED: every attempt of 24 hours has failed. FAILED: it is not tried again.
 */
export const ALERT_DELIVERY_STATUSES = ['PENDING', 'DELIVERED', 'FAILED', 'EXPIRED', 'MERGED', 'SUPPRESSED'] as const;
export type AlertDeliveryStatus = (typeof ALERT_DELIVERY_STATUSES)[number];

/** What a delivery carries: an event, a message that its owner asks for, or a code. */
export const ALERT_DELIVERY_EVENTS = [...ALERT_EVENTS, 'TEST', 'CONFIRMATION'] as const;
export type AlertDeliveryEvent = (typeof ALERT_DELIVERY_EVENTS)[number];
