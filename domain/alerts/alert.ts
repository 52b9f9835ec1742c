import type { AlertDeliveryEvent, OutageKind, OutageResolution } from './states.ts';

/** The facts that a message reports. */
export interface Alert {
  /** The id of the delivery. It never changes, however often it is sent. */
  deliveryId: string;
  event: Exclude<AlertDeliveryEvent, 'CONFIRMATION'>;
  /** When the event happened. */
  at: Date;
  channelName: string;
  /** Absent where no workflow is concerned: a test, or a channel that was disabled. */
  workflow: { id: string; name: string } | undefined;
  jobId: string | undefined;
  /** Why, in sentences: the failure message of the job, the error of the build. */
  reason: string | undefined;
  /** With `resolvedAt`, it is over. `failures` counts jobs in a row. */
  incident:
    | { id: string; openedAt: Date; resolvedAt: Date | undefined; failures: number; firstJobId: string | undefined }
    | undefined;
  /** Of PLATFORM_OUTAGE and PLATFORM_RECOVERED. With `endedAt`, it is over. */
  outage:
    | {
        id: string;
        kind: OutageKind;
        /** The name of the machine. */
        host: string;
        /** The name of the machine, or the id of the engine. */
        place: string;
        beganAt: Date;
        endedAt: Date | undefined;
        resolution: OutageResolution | undefined;
      }
    | undefined;
  /**
   * This one message reports that the incident or outage has begun and that it is over: its
   * beginning was not delivered before its end.
   */
  isWholeIncident: boolean;
  nextRunAt: Date | undefined;
  /**
   * The last lines of the job, masked, oldest first. Undefined if the channel does not want them.
   */
  logLines: readonly string[] | undefined;
  /** Where the api shows the workflow. Undefined without PUBLIC_URL. */
  link: string | undefined;
}

/** What one request to a channel says. */
export type AlertMessage =
  | { kind: 'ALERT'; alert: Alert }
  /** More alerts than a person reads one by one. `id` takes the place of a delivery's id. */
  | { kind: 'DIGEST'; id: string; alerts: readonly Alert[]; count: number }
  | { kind: 'CONFIRMATION'; deliveryId: string; code: string };

/** Where a channel sends, with its secrets opened. */
export type OpenAlertTarget =
  /** `secrets`: signs with each; the present one first. */
  | { kind: 'WEBHOOK'; url: string; secrets: readonly string[] }
  | { kind: 'EMAIL'; address: string }
  | { kind: 'SLACK' | 'DISCORD'; url: string }
  | { kind: 'NTFY'; url: string; topic: string; token: string | undefined };

/**
 * How an attempt to send has ended. `error` is a sentence without secrets, at most 500 characters.
 */
export type SendOutcome =
  | { outcome: 'DELIVERED'; status: number | undefined }
  | {
      outcome: 'FAILED';
      /** Of HTTP or SMTP, if the other side answered. */
      status: number | undefined;
      error: string;
      /** The other side says when to come again. */
      retryAfterSeconds: number | undefined;
      /**
       * LATER: it may go well another time. BUSY: the same, and it counts towards nothing (429).
       * REJECTED: the other side will never take this message. DEAD: it takes none of this channel.
       */
      verdict: 'LATER' | 'BUSY' | 'REJECTED' | 'DEAD';
    };
