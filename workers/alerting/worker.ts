import { alertFacts } from '../../db/alerts/facts.ts';
import { alertUnmuted } from '../../db/alerts/incidents.ts';
import { beginEngineOutages, endLeftOutages } from '../../db/alerts/outages.ts';
import { claimChannels, type NextMessage, nextMessage, releaseChannel } from '../../db/alerts/queue.ts';
import { settleMessage } from '../../db/alerts/settle.ts';
import type { LeaseKey } from '../../db/lease.ts';
import type { Alert, AlertMessage, SendOutcome } from '../../domain/alerts/alert.ts';
import { alertChannelPlace, openTarget } from '../../domain/alerts/config.ts';
import type { AlertEvent } from '../../domain/alerts/states.ts';
import { UnreadableSecret } from '../../domain/payload/secret.ts';
import { defaultDeadline, settledBefore } from '../../platform/async/deadline.ts';
import { repeat } from '../../platform/async/repeat.ts';
import { retry } from '../../platform/async/retry.ts';
import { Signal } from '../../platform/async/signal.ts';
import { publishEffects } from '../../platform/publish.ts';
import type { Parts, Worker } from '../shared/parts.ts';
import { logEnd } from './log-end.ts';
import { createSender, type Sender, type SenderOptions } from './send.ts';

/** An alert waits at most this long to be found. A webhook must get it within two seconds. */
const POLL_MS = 500;
/** After an outage of the database, alerts go on within seconds. */
const BACKOFF_MS_MAX = 3_000;
/**
 * How many channels one worker sends to at once. Each may wait for 15 s: so many slow ones leave
 * room for the others.
 */
const CHANNELS_MAX = 512;
const UNMUTED_PER_STEP = 500;
const UNMUTE_MS = 2_000;
const ENGINES_MS = 5_000;

export interface AlertingParts extends Parts, Omit<SenderOptions, 'log'> {
  /** PUBLIC_URL, under which browsers reach the api. */
  publicUrl?: string | undefined;
  /** Replaces the sender, to inject a fault. */
  sender?: Sender;
}

/**
 * Sends what waits in the queues of the channels. Any number of copies may run: each channel has
 * one of them at a time.
 */
export async function startAlerting(parts: AlertingParts): Promise<Worker> {
  const { db, log, owner, sender = createSender(parts) } = parts;
  const stop = new AbortController();
  /** Ends what is being sent, at the deadline. */
  const abort = new AbortController();
  const wake = new Signal();
  const sending = new Set<Promise<void>>();

  function serve(lease: LeaseKey): void {
    const served = serveChannel({ ...parts, sender }, lease, { stop: stop.signal, abort: abort.signal }).catch(
      (error: unknown) =>
        log.error({ err: error, channelId: lease.id }, 'A channel could not be served; its lease expires by itself.'),
    );
    sending.add(served);
    void served.then(() => {
      const wasFull = sending.size >= CHANNELS_MAX;
      sending.delete(served);
      if (wasFull) wake.notify();
    });
  }

  const options = { log, maxMs: BACKOFF_MS_MAX, signal: stop.signal };
  const loops = [
    repeat({ ...options, what: 'Looking for alerts', everyMs: POLL_MS, wake }, async () => {
      const limit = CHANNELS_MAX - sending.size;
      if (limit > 0) for (const lease of await claimChannels(db, { owner, limit })) serve(lease);
    }),
    repeat({ ...options, what: 'Looking for mutes that have ended', everyMs: UNMUTE_MS }, async () => {
      return (await alertUnmuted(db, { limit: UNMUTED_PER_STEP })) === UNMUTED_PER_STEP ? 0 : UNMUTE_MS;
    }),
    repeat({ ...options, what: 'Looking for engines that do not answer', everyMs: ENGINES_MS }, async () => {
      const ended = await endLeftOutages(db);
      const begun = await beginEngineOutages(db);
      if (begun + ended > 0) log.info({ begun, ended }, 'Outages have begun or ended.');
    }),
  ];
  return {
    async close(deadline = defaultDeadline()) {
      stop.abort();
      await Promise.all(loops);
      const ended = await settledBefore(Promise.all(sending), deadline);
      abort.abort();
      sender.close();
      if (!ended) log.warn({ channels: sending.size }, 'Some alerts were not sent in time. They are sent again.');
    },
  };
}

type Serving = AlertingParts & { sender: Sender };

/** Sends messages of a channel until nothing may be sent now. */
async function serveChannel(
  parts: Serving,
  lease: LeaseKey,
  { stop, abort }: { stop: AbortSignal; abort: AbortSignal },
): Promise<void> {
  const { db, log } = parts;
  while (!stop.aborted) {
    const message = await nextMessage(db, lease);
    if (typeof message === 'string') return;
    const outcome = await sendMessage(parts, message, abort);
    if (abort.aborted) break; // whether it was sent is unknown: it is sent again, under the same id
    // A database that is away now still has the lease when it is back.
    const effects = await retry({ log, what: 'Recording an alert', signal: abort }, () =>
      settleMessage(db, lease, message, outcome),
    );
    logOutcome(parts, message, outcome);
    if (effects === undefined) return;
    await publishEffects(parts, effects);
  }
  await releaseChannel(db, lease);
}

/**
 * Rejects if the database is away, or by a fault of ours: then the lease ends, and it is tried
 * again.
 */
async function sendMessage(parts: Serving, message: NextMessage, abort: AbortSignal): Promise<SendOutcome> {
  const { channel } = message;
  try {
    const target = openTarget(parts.sealer, channel);
    const content = await contentOf(parts, message);
    return content === undefined ? NO_LONGER_WANTED : await parts.sender.send(target, content, abort);
  } catch (error) {
    if (error instanceof UnreadableSecret) return failed(`${UNREADABLE} ${error.message}`);
    throw error;
  }
}

const UNREADABLE =
  'The target of this channel cannot be read: give it again, and rotate the secret if it is a webhook.';

function failed(error: string): SendOutcome {
  return { outcome: 'FAILED', status: undefined, error, retryAfterSeconds: undefined, verdict: 'LATER' };
}

const NO_LONGER_WANTED: SendOutcome = {
  outcome: 'FAILED',
  status: undefined,
  error: 'The address was confirmed, or another code was asked for.',
  retryAfterSeconds: undefined,
  verdict: 'REJECTED',
};

/** The events whose alerts show the end of the log. */
const WITH_LOG: AlertEvent[] = ['WORKFLOW_FAILING', 'WORKFLOW_TERMINATED', 'JOB_FAILED', 'JOB_COMPLETED'];

/** Undefined for a code that is of no use any more. */
async function contentOf(
  { db, sealer, publicUrl }: AlertingParts,
  { channel, deliveryIds, digestId, count, event }: NextMessage,
): Promise<AlertMessage | undefined> {
  const [firstId = ''] = deliveryIds;
  if (event === 'CONFIRMATION') {
    const { confirmation } = channel;
    if (confirmation === null) return undefined;
    const code = sealer.open(confirmation.code, alertChannelPlace(channel.id, 'code'));
    return { kind: 'CONFIRMATION', deliveryId: firstId, code };
  }
  const facts = await alertFacts(db, deliveryIds);
  const alerts = facts.map((one): Alert => {
    return { ...one, channelName: channel.name, logLines: undefined, link: linkTo(one, publicUrl) };
  });
  if (digestId !== undefined) return { kind: 'DIGEST', id: digestId, alerts, count };
  const [alert] = alerts;
  if (alert === undefined) throw new Error(`The delivery ${firstId} is queued and is not stored.`);
  const showsLog = channel.includeLog && alert.jobId !== undefined && WITH_LOG.some((one) => one === alert.event);
  const logLines = showsLog && alert.jobId !== undefined ? await logEnd(db, alert.jobId) : undefined;
  return { kind: 'ALERT', alert: { ...alert, logLines } };
}

/** The log of the job, for somebody who is signed in; otherwise the page to ask for more. */
function linkTo({ jobId }: Pick<Alert, 'jobId'>, publicUrl: string | undefined): string | undefined {
  if (publicUrl === undefined) return undefined;
  return jobId === undefined ? `${publicUrl}/graphql` : `${publicUrl}/logs/${jobId}`;
}

function logOutcome({ log }: Parts, { channel, deliveryIds, count }: NextMessage, outcome: SendOutcome): void {
  const [deliveryId] = deliveryIds;
  const of = { channelId: channel.id, kind: channel.kind, deliveryId, count };
  if (outcome.outcome === 'DELIVERED') log.debug({ event: 'alert delivered', ...of }, 'An alert was delivered.');
  else log.info({ event: 'alert failed', ...of, verdict: outcome.verdict }, `An alert failed: ${outcome.error}`);
}
