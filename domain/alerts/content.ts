import { isoTime } from '../iso-time.ts';
import { NAME_LENGTH_MAX } from '../limits.ts';
import { byteCount } from '../text.ts';
import type { Alert, AlertMessage } from './alert.ts';

/** What a message says, before a channel puts it into its own format. Every text is one line. */
export interface AlertContent {
  title: string;
  /** GOOD: something is well again. */
  mood: 'BAD' | 'GOOD' | 'NEUTRAL';
  /** What happened, in the order in which a person asks. */
  sentences: string[];
  facts: AlertFact[];
  /** Oldest first, at most 10 and 1,000 characters together. */
  logLines: string[];
  link: string | undefined;
}

export interface AlertFact {
  name: string;
  value: string;
}

/** A message that is sent so long after its event says so. */
export const LATE_SECONDS = 120;
/** How many alerts of a digest are named. */
export const DIGEST_NAMED_MAX = 20;
export const LOG_LINES_MAX = 10;
/** Of the log, with its line breaks. */
export const LOG_CHARACTERS_MAX = 1_000;
/** A reason has sentences of ours and a part of the other side's answer. */
const REASON_CHARACTERS_MAX = 1_000;
const NAME_CHARACTERS_MAX = 150;

/** What `message` says when it is sent at `now`. */
export function contentOf(message: AlertMessage, now = new Date()): AlertContent {
  if (message.kind === 'CONFIRMATION') return confirmation(message.code);
  if (message.kind === 'DIGEST') return digest(message, now);
  const { alert } = message;
  return {
    title: titleOf(alert),
    mood: MOODS[alert.event],
    sentences: [...sentencesOf(alert), ...lateness(alert.at, now)],
    facts: factsOf(alert),
    logLines: alert.logLines === undefined ? [] : endOfLog(alert.logLines),
    link: alert.link,
  };
}

const MOODS: Record<Alert['event'], AlertContent['mood']> = {
  WORKFLOW_FAILING: 'BAD',
  WORKFLOW_RECOVERED: 'GOOD',
  WORKFLOW_TERMINATED: 'BAD',
  WORKFLOW_BUILD_FAILED: 'BAD',
  JOB_FAILED: 'BAD',
  JOB_COMPLETED: 'GOOD',
  CHANNEL_DISABLED: 'BAD',
  PLATFORM_OUTAGE: 'BAD',
  PLATFORM_RECOVERED: 'GOOD',
  TEST: 'NEUTRAL',
};

/** One line that says which workflow or part of the platform, and what has happened to it. */
export function titleOf(alert: Alert): string {
  const name = alert.workflow === undefined ? 'A workflow' : shortName(alert.workflow.name);
  switch (alert.event) {
    case 'WORKFLOW_FAILING':
      return alert.isWholeIncident ? `${name} was failing` : `${name} is failing`;
    case 'WORKFLOW_RECOVERED':
      return alert.isWholeIncident ? `${name} was failing and works again` : `${name} works again`;
    case 'WORKFLOW_TERMINATED':
      return `${name} was terminated`;
    case 'WORKFLOW_BUILD_FAILED':
      return `The build of ${name} failed`;
    case 'JOB_FAILED':
      return `A job of ${name} failed`;
    case 'JOB_COMPLETED':
      return `A job of ${name} completed`;
    case 'CHANNEL_DISABLED':
      return 'An alert channel was disabled';
    case 'PLATFORM_OUTAGE':
    case 'PLATFORM_RECOVERED':
      return outageTitle(alert);
    case 'TEST':
      return `Test of the alert channel ${shortName(alert.channelName)}`;
  }
}

function outageTitle({ event, outage, isWholeIncident }: Alert): string {
  const host = cut(line(outage?.host ?? 'a machine'), NAME_CHARACTERS_MAX);
  const isEngine = outage?.kind === 'ENGINE';
  const what = isEngine ? `The Docker engine of ${host}` : `The network of ${host}`;
  const [does, did, again] = isEngine
    ? ['does not answer', 'did not answer', 'answers again']
    : ['does not work', 'did not work', 'works again'];
  if (event === 'PLATFORM_OUTAGE') return `${what} ${isWholeIncident ? did : does}`;
  const end = outage?.resolution === 'GONE' ? 'is used no more' : again;
  return isWholeIncident ? `${what} ${did} and ${end}` : `${what} ${end}`;
}

function outageSentences({ event, at, isWholeIncident }: Alert, outage: NonNullable<Alert['outage']>): string[] {
  const { kind, beganAt, endedAt, resolution } = outage;
  const did = kind === 'ENGINE' ? 'It did not answer' : 'It did not work';
  const lasted = duration(beganAt, endedAt ?? at);
  const gone =
    resolution !== 'GONE'
      ? []
      : ['Its worker was stopped, or gave no sign of life for a day, so nobody knows whether it works.'];
  if (isWholeIncident && endedAt !== undefined)
    return [`${did} from ${isoTime(beganAt)} to ${isoTime(endedAt)}, for ${lasted}.`, ...gone];
  if (event === 'PLATFORM_RECOVERED') return [`${did} for ${lasted}.`, ...gone];
  return kind === 'ENGINE' ? [] : ['Heartbeats that fail by this count against no workflow.'];
}

function sentencesOf(alert: Alert): string[] {
  const { incident, outage } = alert;
  const reason = alert.reason === undefined ? [] : [cut(line(alert.reason), REASON_CHARACTERS_MAX)];
  if (alert.event === 'TEST') return ['This is a test: the alerts of this channel arrive here.'];
  if (outage !== undefined) return [...reason, ...outageSentences(alert, outage)];
  if (incident === undefined) return reason;
  const { openedAt, resolvedAt } = incident;
  const failures = `${incident.failures} ${incident.failures === 1 ? 'job' : 'jobs in a row'} failed`;
  if (alert.isWholeIncident && resolvedAt !== undefined)
    return [`It was failing from ${isoTime(openedAt)} to ${isoTime(resolvedAt)}: ${failures}.`, ...reason];
  if (alert.event === 'WORKFLOW_RECOVERED')
    return [`It was failing for ${duration(openedAt, resolvedAt ?? alert.at)}: ${failures}.`, ...reason];
  return reason;
}

function lateness(at: Date, now: Date): string[] {
  if (now.getTime() - at.getTime() <= LATE_SECONDS * 1_000) return [];
  return [`This message is ${duration(at, now)} late: it is about ${isoTime(at)}.`];
}

function factsOf({ event, at, incident, outage, jobId, nextRunAt, workflow }: Alert): AlertFact[] {
  const facts: [string, string | undefined][] = [['Time', isoTime(at)]];
  if (incident !== undefined) {
    const { openedAt, resolvedAt, failures, firstJobId } = incident;
    facts.push(['Failing since', isoTime(openedAt)], ['Failures in a row', String(failures)]);
    if (resolvedAt !== undefined)
      facts.push(['Failing until', isoTime(resolvedAt)], ['Duration', duration(openedAt, resolvedAt)]);
    facts.push(['First failed job', firstJobId]);
  }
  if (outage !== undefined) {
    const { kind, host, place, beganAt, endedAt } = outage;
    facts.push(['Machine', cut(line(host), NAME_CHARACTERS_MAX)]);
    if (kind === 'ENGINE') facts.push(['Engine', cut(line(place), NAME_CHARACTERS_MAX)]);
    facts.push(['Since', isoTime(beganAt)]);
    if (endedAt !== undefined) facts.push(['Until', isoTime(endedAt)], ['Duration', duration(beganAt, endedAt)]);
  }
  facts.push(['Job', jobId === incident?.firstJobId ? undefined : jobId]);
  if (event !== 'WORKFLOW_TERMINATED') facts.push(['Next run', nextRunAt && isoTime(nextRunAt)]);
  facts.push(['Workflow', workflow?.id]);
  return facts.flatMap(([name, value]) => (value === undefined ? [] : [{ name, value }]));
}

function confirmation(code: string): AlertContent {
  return {
    title: 'Confirm this address for alerts of Chronoverse',
    mood: 'NEUTRAL',
    sentences: [
      'Somebody wants alerts of a Chronoverse server sent to this address.',
      `The code that confirms it is ${line(code)}. It is valid for 24 hours.`,
      'If you did not ask for this, ignore this message: nothing else is sent here.',
    ],
    facts: [],
    logLines: [],
    link: undefined,
  };
}

function digest({ alerts, count }: { alerts: readonly Alert[]; count: number }, now: Date): AlertContent {
  const named = alerts.slice(0, DIGEST_NAMED_MAX);
  const rest = count - named.length;
  const first = named[0];
  return {
    title: `${count} alerts`,
    mood: alerts.some(({ event }) => MOODS[event] === 'BAD') ? 'BAD' : 'GOOD',
    sentences: [
      ...named.map((alert) => `${isoTime(alert.at)}: ${titleOf(alert)}.`),
      ...(rest > 0 ? [`And ${rest} more, which the log of the channel lists.`] : []),
      ...(first === undefined ? [] : lateness(first.at, now)),
    ],
    facts: [],
    logLines: [],
    link: undefined,
  };
}

/** "45 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
function duration(from: Date, to: Date): string {
  const seconds = Math.max(0, Math.round((to.getTime() - from.getTime()) / 1_000));
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first === -1) return '0 s';
  const shown = parts.slice(first, first + 2).filter(([count]) => count > 0);
  return shown.map(([count, unit]) => `${count} ${unit}`).join(' ');
}

function shortName(name: string): string {
  return cut(line(name), NAME_CHARACTERS_MAX);
}

/**
 * `text` as one line that shows what it says: line breaks and other controls become a space, and
 * what turns the direction of the text around it is left out.
 */
export function line(text: string): string {
  return text
    .replace(TURNS, '')
    .replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .replace(/\p{Cs}/gu, '\u{fffd}') // half of a surrogate pair
    .trim();
}

/** Marks, embeddings, overrides and isolates of the direction. */
const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** The beginning of `text`, at most `lengthMax` UTF-16 units with the mark of a cut. */
export function cut(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return text;
  return `${text.slice(0, Math.max(0, lengthMax - 1)).replace(/[\ud800-\udbff]$/, '')}…`;
}

/**
 * As much of the beginning of `text` as is at most `lengthMax` long once `write` has escaped it,
 * with the mark of a cut. `write` gets whole characters, one by one.
 */
export function escapedTo(lengthMax: number, text: string, write: (character: string) => string): string {
  const pieces = Array.from(text, write);
  if (lengthOf(pieces) <= lengthMax) return pieces.join('');
  let left = lengthMax - 1;
  const kept = pieces.slice(
    0,
    pieces.findIndex((piece) => {
      left -= piece.length;
      return left < 0;
    }),
  );
  return `${kept.join('')}…`;
}

/** The same for the end of `text`. */
export function endEscapedTo(lengthMax: number, text: string, write: (character: string) => string): string {
  const pieces = Array.from(text, write);
  let left = lengthMax;
  if (lengthOf(pieces) <= left) return pieces.join('');
  left -= 1;
  const cutAt = pieces.findLastIndex((piece) => {
    left -= piece.length;
    return left < 0;
  });
  return `…${pieces.slice(cutAt + 1).join('')}`;
}

function lengthOf(pieces: readonly string[]): number {
  return pieces.reduce((length, piece) => length + piece.length, 0);
}

/** The last lines, cut at the front. A line of nothing stays: it parts what others say. */
export function endOfLog(lines: readonly string[], lengthMax = LOG_CHARACTERS_MAX): string[] {
  const kept: string[] = [];
  let left = lengthMax;
  for (const text of lines.slice(-LOG_LINES_MAX).map(logLine).reverse()) {
    if (text.length > left) {
      // One character of the rest is the mark of the cut.
      if (left > 1) kept.push(`…${text.slice(text.length - left + 1).replace(/^[\udc00-\udfff]/, '')}`);
      break;
    }
    kept.push(text);
    left -= text.length + 1;
    if (left <= 0) break;
  }
  return kept.reverse();
}

function logLine(text: string): string {
  return line(text.replace(ESCAPES, '').replaceAll('\t', '  ')).trimEnd();
}

/** Colors and titles of a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal's sequences begin with one
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)/g;

/** The most bytes of a webhook's body. */
export const WEBHOOK_BYTES_MAX = 20 * 1024;

/** The body of a webhook, in JSON. It always has at most 20 KiB, with the log cut first. */
export function webhookBody(alert: Alert): string {
  const logs = alert.logLines === undefined ? undefined : endOfLog(alert.logLines);
  const reason = alert.reason && cut(line(alert.reason), WEBHOOK_REASON_CHARACTERS_MAX);
  const whole = written(alert, logs, reason);
  if (byteCount(whole) <= WEBHOOK_BYTES_MAX) return whole;
  const withoutLog = written(alert, undefined, reason);
  if (byteCount(withoutLog) <= WEBHOOK_BYTES_MAX) return withoutLog;
  const short = { ...alert, link: undefined };
  return written(short, undefined, reason && cut(reason, REASON_CHARACTERS_MAX));
}

/** 8 KiB if each takes two bytes. */
const WEBHOOK_REASON_CHARACTERS_MAX = 4_000;

function written(alert: Alert, log: string[] | undefined, reason: string | undefined): string {
  const { incident, outage, workflow } = alert;
  return JSON.stringify({
    type: typeOf(alert.event),
    timestamp: isoTime(alert.at),
    data: {
      deliveryId: alert.deliveryId,
      event: alert.event,
      channel: cut(line(alert.channelName), NAME_LENGTH_MAX),
      title: titleOf(alert),
      workflow: workflow === undefined ? null : { id: workflow.id, name: cut(line(workflow.name), NAME_LENGTH_MAX) },
      jobId: alert.jobId ?? null,
      reason: reason ?? null,
      incident:
        incident === undefined
          ? null
          : {
              id: incident.id,
              openedAt: isoTime(incident.openedAt),
              resolvedAt: incident.resolvedAt ? isoTime(incident.resolvedAt) : null,
              failures: incident.failures,
              firstJobId: incident.firstJobId ?? null,
            },
      outage:
        outage === undefined
          ? null
          : {
              id: outage.id,
              kind: outage.kind,
              host: cut(line(outage.host), NAME_LENGTH_MAX),
              engineId: outage.kind === 'ENGINE' ? cut(line(outage.place), NAME_LENGTH_MAX) : null,
              beganAt: isoTime(outage.beganAt),
              endedAt: outage.endedAt ? isoTime(outage.endedAt) : null,
              resolution: outage.resolution ?? null,
            },
      isWholeIncident: alert.isWholeIncident,
      nextRunAt: alert.nextRunAt ? isoTime(alert.nextRunAt) : null,
      log: log ?? null,
      link: alert.link ?? null,
    },
  });
}

/** `workflow.failing`, `workflow.build_failed`, `job.completed`, `platform.outage`, `test`. */
function typeOf(event: Alert['event']): string {
  return event.toLowerCase().replace('_', '.');
}
