import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  customType,
  integer,
  jsonb,
  pgTable,
  smallint,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core';
import type { AuditChange } from '../domain/account/audit.ts';
import type { TokenScope } from '../domain/account/token-scope.ts';
import type { AlertChannelConfig, Confirmation } from '../domain/alerts/config.ts';
import type {
  AlertChannelKind,
  AlertChannelState,
  AlertDeliveryEvent,
  AlertDeliveryStatus,
  AlertEvent,
  OutageKind,
  OutageResolution,
} from '../domain/alerts/states.ts';
import type { NotificationKind, NotificationPreference } from '../domain/notifications.ts';
import type { Payload } from '../domain/payload/payload.ts';
import type { OverlapPolicy, PauseReason, RunPolicy, TooManyFailuresAction } from '../domain/schedule/run-policy.ts';
import type { StoredSchedule } from '../domain/schedule/schedule.ts';
import type {
  BuildStatus,
  FailureReason,
  JobStatus,
  JobTrigger,
  ScheduleState,
  TerminationReason,
  WorkflowKind,
} from '../domain/states.ts';
import type { WorkerName } from '../domain/workers.ts';

/**
 * The tables as queries see them. Only the migrations have the keys, checks and indexes, with their
 * reasons. A test compares these columns with a migrated database.
 */

const time = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' });
const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });

export const users = pgTable('users', {
  id: uuid('id').primaryKey(),
  email: text('email').notNull(),
  passwordHash: text('password_hash').notNull(),
  createdAt: time('created_at').notNull().defaultNow(),
  notificationPreference: text('notification_preference').$type<NotificationPreference>().notNull().default('ALERTS'),
  administrator: boolean('administrator').notNull().default(false),
  disabledAt: time('disabled_at'),
});
export type UserRow = typeof users.$inferSelect;

export const tokens = pgTable('tokens', {
  id: uuid('id').primaryKey(),
  userId: uuid('user_id').notNull(),
  kind: text('kind').$type<'SESSION' | 'API'>().notNull(),
  name: text('name'),
  hash: bytea('hash').notNull(),
  createdAt: time('created_at').notNull().defaultNow(),
  lastUsedAt: time('last_used_at'),
  expiresAt: time('expires_at'),
  address: text('address'), // of sessions alone, as the next one
  userAgent: text('user_agent'),
  /** The rights of an API token. */
  scope: text('scope').$type<TokenScope>().notNull().default('WRITE'),
});
export type TokenRow = typeof tokens.$inferSelect;

export const auditEvents = pgTable('audit_events', {
  id: uuid('id').primaryKey(),
  at: time('at').notNull().defaultNow(),
  action: text('action').notNull(),
  outcome: text('outcome').$type<'DONE' | 'REFUSED'>().notNull(),
  code: text('code'),
  userId: uuid('user_id'),
  actorId: uuid('actor_id'),
  tokenId: uuid('token_id'),
  tokenKind: text('token_kind').$type<'SESSION' | 'API'>(),
  tokenName: text('token_name'),
  address: text('address'),
  objectId: uuid('object_id'),
  changes: jsonb('changes').$type<AuditChange[]>().notNull().default([]),
  count: integer('count').notNull().default(1),
});
export type AuditRow = typeof auditEvents.$inferSelect;

export const knownAddresses = pgTable('known_addresses', {
  userId: uuid('user_id').notNull(),
  address: text('address').notNull(),
  lastUsedAt: time('last_used_at').notNull().defaultNow(),
});

export const workflows = pgTable('workflows', {
  id: uuid('id').primaryKey(),
  userId: uuid('user_id').notNull(),
  name: text('name').notNull(),
  kind: text('kind').$type<WorkflowKind>().notNull(),
  /** Minutes from one slot to the next; null if `schedule` says when the workflow runs. */
  intervalMinutes: integer('interval_minutes'),
  schedule: jsonb('schedule').$type<StoredSchedule>(),
  runPolicy: jsonb('run_policy').$type<RunPolicy>(), // null: the defaults
  maxConsecutiveJobFailuresAllowed: integer('max_consecutive_job_failures_allowed').notNull(),
  consecutiveJobFailuresCount: integer('consecutive_job_failures_count').notNull().default(0),
  onTooManyFailures: text('on_too_many_failures').$type<TooManyFailuresAction>().notNull().default('TERMINATE'),
  /** The pause has ended if `pausedUntil` has passed (db/workflows/pause.ts). */
  pausedAt: time('paused_at'),
  pausedUntil: time('paused_until'),
  pauseReason: text('pause_reason').$type<PauseReason>(),
  pauseNote: text('pause_note'),
  /** Of a terminated workflow. Until then its schedule has the number. */
  skippedRunCount: integer('skipped_run_count').notNull().default(0),
  generation: integer('generation').notNull().default(1),
  buildStatus: text('build_status').$type<BuildStatus>().notNull(),
  createdAt: time('created_at').notNull().defaultNow(),
  updatedAt: time('updated_at').notNull().defaultNow(),
  terminatedAt: time('terminated_at'),
  terminationReason: text('termination_reason').$type<TerminationReason>(),
  deletedAt: time('deleted_at'),
  purgeRequestedAt: time('purge_requested_at'),
  logRetentionDays: integer('log_retention_days'),
  logsRemovedTo: uuid('logs_removed_to'),
  alertAfterFailures: integer('alert_after_failures').notNull().default(1),
  hasOwnAlertChannels: boolean('has_own_alert_channels').notNull().default(false),
  /** The mute has ended if this has passed. */
  mutedUntil: time('muted_until'),
});
export type WorkflowRow = typeof workflows.$inferSelect;

export const payloads = pgTable('payloads', {
  workflowId: uuid('workflow_id').notNull(),
  generation: integer('generation').notNull(),
  payload: jsonb('payload').$type<Payload>().notNull(),
  // by a trigger
  bytes: integer('bytes').notNull().generatedAlwaysAs(sql`octet_length(payload::text)`),
});

export const builds = pgTable('builds', {
  id: uuid('id').primaryKey(),
  workflowId: uuid('workflow_id').notNull(),
  userId: uuid('user_id').notNull(),
  generation: integer('generation').notNull(),
  status: text('status').$type<BuildStatus>().notNull(),
  /** The number of the newest attempt. Numbers are never reused. */
  attempt: integer('attempt').notNull().default(0),
  /**
   * The attempts that do not count because their worker returned them: a check at any time, a
   * container before its start.
   */
  uncountedAttempts: integer('uncounted_attempts').notNull().default(0),
  leaseToken: uuid('lease_token'),
  leaseOwner: text('lease_owner'),
  leaseExpiresAt: time('lease_expires_at'),
  error: text('error'),
  imageId: text('image_id'),
  imageDigest: text('image_digest'),
  logLineCount: integer('log_line_count').notNull().default(0),
  /**
   * The first attempt whose lines count. Chunks of earlier attempts are dropped
   * (db/logs/markers.ts).
   */
  logAttempt: integer('log_attempt').notNull().default(1),
  /** The build has ended, but lines printed before its end may still arrive. */
  logOpen: boolean('log_open').notNull().default(false),
  createdAt: time('created_at').notNull().defaultNow(),
  startedAt: time('started_at'),
  completedAt: time('completed_at'),
  /** The engine that found or made the image. */
  engineId: text('engine_id'),
  /** When a QUEUED build that waits out an outage is tried again. */
  retryAt: time('retry_at'),
  /** How often the build has waited. Each wait is longer than the one before. */
  waits: integer('waits').notNull().default(0),
  /** The sentence about the outage. */
  waitsFor: text('waits_for'),
  /** The outage is one of the engine, so an engine that is back ends the wait. */
  awaitsEngine: boolean('awaits_engine').notNull().default(false),
});
export type BuildRow = typeof builds.$inferSelect;

export const schedules = pgTable('schedules', {
  workflowId: uuid('workflow_id').primaryKey(),
  userId: uuid('user_id').notNull(),
  kind: text('kind').$type<WorkflowKind>().notNull(),
  state: text('state').$type<ScheduleState>().notNull(),
  generation: integer('generation').notNull(),
  /** With neither an interval nor a calendar, `nextRunAt` is the only slot. */
  intervalMinutes: integer('interval_minutes'),
  calendarId: uuid('calendar_id'),
  startsAt: time('starts_at'),
  endsAt: time('ends_at'),
  /** From a slot to its run: the spread of the run policy, or the grace of a push heartbeat. */
  delaySeconds: integer('delay_seconds').notNull().default(0),
  overlap: text('overlap').$type<OverlapPolicy>().notNull().default('QUEUE'),
  /** A slot that is later than this is dropped. Null: never. */
  lateSeconds: integer('late_seconds'),
  paused: boolean('paused').notNull().default(false),
  pausedUntil: time('paused_until'),
  skippedRunCount: integer('skipped_run_count').notNull().default(0),
  skipNotifiedAt: time('skip_notified_at'),
  lateAfterSeconds: integer('late_after_seconds'),
  expectedMaxSeconds: integer('expected_max_seconds'),
  /** The end of each job looks at the run policy. */
  watchesEnds: boolean('watches_ends').notNull().default(false),
  /** The last slot that was notified as late, and the last job that was notified as long. */
  lateSlotAt: time('late_slot_at'),
  longJobId: uuid('long_job_id'),
  /**
   * The `nextRunAt` that a job was canceled for (REPLACE): its slot is never too late. No statement
   * clears it, because it means nothing once `nextRunAt` has moved.
   */
  replacingSlotAt: time('replacing_slot_at'),
  lastSlotAt: time('last_slot_at'),
  nextRunAt: time('next_run_at'),
  wakeAt: time('wake_at'),
  waiting: boolean('waiting').notNull().default(false),
  // run_requests may have a row of this workflow
  requested: boolean('requested').notNull().default(false),
  /** False only if the failure count of the workflow is 0. A trigger of `workflows` keeps it. */
  failing: boolean('failing').notNull().default(true),
  lastJobId: uuid('last_job_id'),
});

/** What the pings of a push heartbeat need (db/pings). Other workflows have no row. */
export const pings = pgTable('pings', {
  workflowId: uuid('workflow_id').primaryKey(),
  tokenHash: bytea('token_hash').notNull(),
  /** Sealed. */
  token: text('token').notNull(),
  startGraceSeconds: integer('start_grace_seconds').notNull(),
  runGraceSeconds: integer('run_grace_seconds').notNull(),
  postOnly: boolean('post_only').notNull(),
  /** Of the last run that said that it started. */
  startedAt: time('started_at'),
  startRid: uuid('start_rid'),
  /** When that run said that it ended. */
  endedAt: time('ended_at'),
  /** When a job failed because that run had not ended in time. */
  givenUpAt: time('given_up_at'),
  /** Lines for the log of the next job, not packed. */
  log: bytea('log').notNull().default(sql`''`),
  logLineCount: integer('log_line_count').notNull().default(0),
});
export type PingsRow = typeof pings.$inferSelect;

/** When cron expressions run in a time zone (db/calendars.ts). */
export const calendars = pgTable('calendars', {
  id: uuid('id').primaryKey(),
  key: text('key').notNull(),
  expressions: text('expressions').array().notNull(),
  timeZone: text('time_zone').notNull(),
  tzVersion: text('tz_version').notNull(),
  /** The last time that has passed and those that follow, ascending. */
  occurrences: time('occurrences').array().notNull(),
  isLast: boolean('is_last').notNull(),
  refillAt: time('refill_at'),
  /** For how long passed occurrences are kept: as long as any of its schedules was delayed. */
  keptSeconds: integer('kept_seconds').notNull().default(0),
  usedAt: time('used_at').notNull().defaultNow(),
});

export const jobs = pgTable('jobs', {
  id: uuid('id').primaryKey(),
  workflowId: uuid('workflow_id').notNull(),
  userId: uuid('user_id').notNull(),
  kind: text('kind').$type<WorkflowKind>().notNull(),
  trigger: text('trigger').$type<JobTrigger>().notNull(),
  status: text('status').$type<JobStatus>().notNull(),
  generation: integer('generation').notNull(),
  /** The number of the newest attempt. Numbers are never reused. */
  attempt: integer('attempt').notNull().default(0),
  /**
   * The attempts that do not count because their worker returned them: a check at any time, a
   * container before its start.
   */
  uncountedAttempts: integer('uncounted_attempts').notNull().default(0),
  /** How often a worker has taken over an attempt. */
  adoptions: integer('adoptions').notNull().default(0),
  scheduledAt: time('scheduled_at').notNull(),
  createdAt: time('created_at').notNull().defaultNow(),
  updatedAt: time('updated_at').notNull().defaultNow(),
  queuedAt: time('queued_at'),
  startedAt: time('started_at'),
  completedAt: time('completed_at'),
  leaseToken: uuid('lease_token'),
  leaseOwner: text('lease_owner'),
  leaseExpiresAt: time('lease_expires_at'),
  engineId: text('engine_id'),
  cancelRequestedAt: time('cancel_requested_at'),
  exitCode: integer('exit_code'),
  failureReason: text('failure_reason').$type<FailureReason>(),
  failureMessage: text('failure_message'),
  logLineCount: integer('log_line_count').notNull().default(0),
  /**
   * The epoch (domain/logs/chunk.ts) from which on lines count. Chunks of earlier epochs are
   * dropped (db/logs/markers.ts).
   */
  logAttempt: integer('log_attempt').notNull().default(1),
  /** The job has ended, but lines printed before its end may still arrive. */
  logOpen: boolean('log_open').notNull().default(false),
  requestedBy: uuid('requested_by'), // of MANUAL jobs
  requestedWith: text('requested_with'), // the name of the API token
  /**
   * The newest attempt that was lost with its worker, so that nobody saw its end. Null when the
   * log says so already.
   */
  lostAttempt: integer('lost_attempt'),
  /** False if the failure count of the workflow is 0 for as long as the job runs. */
  afterFailure: boolean('after_failure').notNull().default(true),
  /** False if the schedule does not wait for the end of the job. */
  awaited: boolean('awaited').notNull().default(true),
  /** How many attempts have failed and were followed by another one, as the run policy says. */
  retries: integer('retries').notNull().default(0),
  /** When the next attempt of a PENDING job begins, after a failed one. */
  retryAt: time('retry_at'),
});
export type JobRow = typeof jobs.$inferSelect;

export const runRequests = pgTable('run_requests', {
  jobId: uuid('job_id').primaryKey(),
  workflowId: uuid('workflow_id').notNull(),
  userId: uuid('user_id').notNull(),
  kind: text('kind').$type<WorkflowKind>().notNull(),
});

/** The round in progress. */
export const turnRounds = pgTable('turn_rounds', {
  kind: text('kind').$type<'CONTAINER' | 'BUILD'>().primaryKey(),
  round: bigint('round', { mode: 'number' }).notNull(),
});

export const turns = pgTable('turns', {
  id: uuid('id').primaryKey(),
  kind: text('kind').$type<'CONTAINER' | 'BUILD'>().notNull(),
  userId: uuid('user_id').notNull(),
  round: bigint('round', { mode: 'number' }).notNull(),
  /** Engines whose workers left the turn to others, and until when in seconds since 1970. */
  passedBy: jsonb('passed_by').$type<Record<string, number>>(),
  waitsFor: text('waits_for'), // a sentence for the owner
});

export const workers = pgTable('workers', {
  owner: text('owner').notNull(),
  name: text('name').$type<WorkerName>().notNull(),
  version: text('version').notNull(),
  host: text('host').notNull(),
  startedAt: time('started_at').notNull().defaultNow(),
  seenAt: time('seen_at').notNull().defaultNow(),
  stoppedAt: time('stopped_at'),
  engineId: text('engine_id'),
  engineSeenAt: time('engine_seen_at'),
});

export const idempotencyKeys = pgTable('idempotency_keys', {
  userId: uuid('user_id').notNull(),
  mutation: text('mutation').notNull(),
  key: text('key').notNull(),
  inputHash: bytea('input_hash').notNull(),
  objectId: uuid('object_id'),
  createdAt: time('created_at').notNull().defaultNow(),
});

export const logChunks = pgTable('log_chunks', {
  sourceId: uuid('source_id').notNull(),
  firstNumber: integer('first_number').notNull(),
  lastNumber: integer('last_number').notNull(),
  attempt: integer('attempt').notNull(),
  lines: bytea('lines').notNull(),
});

export const notifications = pgTable('notifications', {
  id: uuid('id').primaryKey(),
  userId: uuid('user_id').notNull(),
  kind: text('kind').$type<NotificationKind>().notNull(),
  /** Null if it concerns no workflow. Then `workflowName` is null too. */
  workflowId: uuid('workflow_id'),
  workflowName: text('workflow_name'),
  jobId: uuid('job_id'),
  detail: text('detail'),
  readAt: time('read_at'),
  createdAt: time('created_at').notNull().defaultNow(),
});
export type NotificationRow = typeof notifications.$inferSelect;

export const alertChannels = pgTable('alert_channels', {
  id: uuid('id').primaryKey(),
  userId: uuid('user_id').notNull(),
  name: text('name').notNull(),
  kind: text('kind').$type<AlertChannelKind>().notNull(),
  config: jsonb('config').$type<AlertChannelConfig>().notNull(),
  events: text('events').array().$type<AlertEvent[]>().notNull(),
  isDefault: boolean('is_default').notNull(),
  includeLog: boolean('include_log').notNull(),
  state: text('state').$type<AlertChannelState>().notNull(),
  disabledReason: text('disabled_reason'),
  /** Of an UNCONFIRMED channel. */
  confirmation: jsonb('confirmation').$type<Confirmation>(),
  createdAt: time('created_at').notNull().defaultNow(),
  deletedAt: time('deleted_at'),
  leaseToken: uuid('lease_token'),
  leaseOwner: text('lease_owner'),
  leaseExpiresAt: time('lease_expires_at'),
  /** Nothing is sent before, except a test, or a delivery that came after `attemptedAt`. */
  retryAt: time('retry_at'),
  attemptedAt: time('attempted_at'),
  /** The other side wants nothing before. */
  holdUntil: time('hold_until'),
  digestedAt: time('digested_at'),
  /** Of the failures since the last success. */
  firstFailedAt: time('first_failed_at'),
  failureCount: integer('failure_count').notNull().default(0),
  /** How many messages in a row were refused for good. */
  rejectionCount: integer('rejection_count').notNull().default(0),
});
export type AlertChannelRow = typeof alertChannels.$inferSelect;

/** The channels of a workflow that does not use the default ones. */
export const workflowAlertChannels = pgTable('workflow_alert_channels', {
  workflowId: uuid('workflow_id').notNull(),
  channelId: uuid('channel_id').notNull(),
});

export const incidents = pgTable('incidents', {
  id: uuid('id').primaryKey(),
  workflowId: uuid('workflow_id').notNull(),
  userId: uuid('user_id').notNull(),
  /** The job that reached `alertAfterFailures`. */
  jobId: uuid('job_id').notNull(),
  openedAt: time('opened_at').notNull().defaultNow(),
  /** Null while the workflow is muted from before it. */
  alertedAt: time('alerted_at'),
  resolvedAt: time('resolved_at'),
  resolution: text('resolution').$type<'RECOVERED' | 'TERMINATED'>(),
  failures: integer('failures').notNull(),
});
export type IncidentRow = typeof incidents.$inferSelect;

export const outages = pgTable('outages', {
  id: uuid('id').primaryKey(),
  kind: text('kind').$type<OutageKind>().notNull(),
  /** The name of the machine, or the id of the engine. */
  place: text('place').notNull(),
  /** The name of the machine. */
  host: text('host').notNull(),
  detail: text('detail').notNull(),
  beganAt: time('began_at').notNull().defaultNow(),
  endedAt: time('ended_at'),
  resolution: text('resolution').$type<OutageResolution>(),
});

export const alertDeliveries = pgTable('alert_deliveries', {
  id: uuid('id').primaryKey(),
  channelId: uuid('channel_id').notNull(),
  userId: uuid('user_id').notNull(),
  event: text('event').$type<AlertDeliveryEvent>().notNull(),
  workflowId: uuid('workflow_id'),
  workflowName: text('workflow_name'),
  jobId: uuid('job_id'),
  /** Or the id of the outage. */
  incidentId: uuid('incident_id'),
  detail: text('detail'),
  status: text('status').$type<AlertDeliveryStatus>().notNull(),
  attempt: integer('attempt').notNull().default(0),
  /** Of HTTP or SMTP. */
  lastStatus: integer('last_status'),
  lastError: text('last_error'),
  createdAt: time('created_at').notNull().defaultNow(),
  deliveredAt: time('delivered_at'),
});
export type AlertDeliveryRow = typeof alertDeliveries.$inferSelect;

/** The PENDING deliveries, and nothing that is long. */
export const alertDue = pgTable('alert_due', {
  deliveryId: uuid('delivery_id').primaryKey(),
  channelId: uuid('channel_id').notNull(),
  isUrgent: boolean('is_urgent').notNull().default(false),
  queuedAt: time('queued_at').notNull().defaultNow(),
  digestId: uuid('digest_id'),
});

export const totals = pgTable('totals', {
  scopeId: uuid('scope_id').notNull(),
  what: text('what').notNull(),
  hour: time('hour').notNull(),
  bucket: smallint('bucket').notNull(),
  count: bigint('count', { mode: 'number' }).notNull(),
  logLines: bigint('log_lines', { mode: 'number' }).notNull(),
  durationMs: bigint('duration_ms', { mode: 'number' }).notNull(),
});

export const dailyTotals = pgTable('daily_totals', {
  userId: uuid('user_id').notNull(),
  what: text('what').notNull(),
  day: time('day').notNull(),
  bucket: smallint('bucket').notNull(),
  count: bigint('count', { mode: 'number' }).notNull(),
  logLines: bigint('log_lines', { mode: 'number' }).notNull(),
  durationMs: bigint('duration_ms', { mode: 'number' }).notNull(),
});

export const totalsPending = pgTable('totals_pending', {
  id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
  at: time('at').notNull().defaultNow(),
  weight: integer('weight').notNull().default(1), // 0: lines of jobs that are already counted
  userIds: uuid('user_ids').array().notNull(),
  workflowIds: uuid('workflow_ids').array().notNull(),
  whats: text('whats').array().notNull(),
  startedAts: time('started_ats').array().notNull(),
  logLines: integer('log_lines').array().notNull(),
});

export const volumes = pgTable('volumes', {
  id: uuid('id').primaryKey(),
  userId: uuid('user_id').notNull(),
  name: text('name').notNull(),
  createdAt: time('created_at').notNull().defaultNow(),
  deleteRequestedAt: time('delete_requested_at'),
});

export const volumeCopies = pgTable('volume_copies', {
  volumeId: uuid('volume_id').notNull(),
  engineId: text('engine_id').notNull(),
  sizeBytes: bigint('size_bytes', { mode: 'number' }),
  lastUsedAt: time('last_used_at'),
});

export const privateImages = pgTable('private_images', {
  imageId: text('image_id').notNull(),
  image: text('image').notNull(),
});

export const privatePulls = pgTable('private_pulls', {
  puller: uuid('puller').notNull(),
  image: text('image').notNull(),
  repository: text('repository').notNull(),
  engineId: text('engine_id').notNull().default(''),
  imageIdBefore: text('image_id_before'),
  startedAt: time('started_at').notNull().defaultNow(),
});

export const pulledImages = pgTable('pulled_images', {
  userId: uuid('user_id').notNull(),
  imageId: text('image_id').notNull(),
  image: text('image').notNull(),
  pulledAt: time('pulled_at').notNull().defaultNow(),
});

/** Images that this installation has pulled onto its engines (db/builds/engine-images.ts). */
export const engineImages = pgTable('engine_images', {
  engineId: text('engine_id').notNull(),
  imageId: text('image_id').notNull(),
  /** The full names that our pulls gave it: `docker.io/library/alpine:3`. */
  names: text('names').array().notNull(),
  pulledAt: time('pulled_at').notNull().defaultNow(),
  lastUsedAt: time('last_used_at').notNull().defaultNow(),
  lookAt: time('look_at').notNull().defaultNow(),
});

export const installations = pgTable('installations', {
  onlyRow: boolean('only_row').primaryKey().default(true),
  id: uuid('id').notNull(),
  secretKeyIds: text('secret_key_ids').array().notNull().default([]),
});
