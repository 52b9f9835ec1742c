import type { AlertChannelRow, AlertDeliveryRow, IncidentRow } from '../../db/schema.ts';
import { mutedUntil } from '../../db/workflows/mute.ts';
import {
  ALERT_CHANNEL_KINDS,
  ALERT_CHANNEL_STATES,
  ALERT_DELIVERY_EVENTS,
  ALERT_DELIVERY_STATUSES,
  ALERT_EVENTS,
} from '../../domain/alerts/states.ts';
import { ALERT_CHANNELS_PER_USER_MAX, ALERT_CHANNELS_PER_WORKFLOW_MAX } from '../../domain/limits.ts';
import { orNotFound } from '../errors.ts';
import { counted, PAGE_SIZE, pageOf, windowOf } from '../paging.ts';
import { User } from './account.ts';
import { builder } from './builder.ts';
import { countedConnectionOf, forwardPagingArgs } from './connection.ts';
import { cost, SEARCH_COST, STATEMENT_COST } from './cost.ts';
import { describedEnum } from './enums.ts';
import { Job } from './job.ts';
import { Node } from './node.ts';
import { workflowFor } from './summary.ts';
import { Workflow } from './workflow.ts';

const EVENTS = {
  WORKFLOW_FAILING: 'An incident has begun: `alertAfterFailures` jobs of a workflow in a row have failed.',
  WORKFLOW_RECOVERED: 'An incident is over: a job has completed.',
  WORKFLOW_TERMINATED: 'A workflow was terminated because too many of its jobs failed in a row, or during an incident.',
  WORKFLOW_BUILD_FAILED: 'The build of a workflow failed.',
  JOB_FAILED: 'A job failed, and is not retried.',
  JOB_COMPLETED: 'A job completed.',
  CHANNEL_DISABLED: 'Another alert channel was disabled because it takes no messages.',
  PLATFORM_OUTAGE:
    'The network of a machine with an execution worker does not work, or the Docker engine of a workflow worker does not answer. Only the default channels of administrators get it.',
  PLATFORM_RECOVERED: 'Such an outage is over.',
};

export const AlertEventEnum = describedEnum('AlertEvent', 'What an alert reports.', ALERT_EVENTS, EVENTS);

const AlertDeliveryEventEnum = describedEnum(
  'AlertDeliveryEvent',
  'What a delivery carries: an event, or a message that was asked for.',
  ALERT_DELIVERY_EVENTS,
  {
    ...EVENTS,
    TEST: 'A test, by `testAlertChannel` or `enableAlertChannel`.',
    CONFIRMATION: 'The code that confirms an e-mail address.',
  },
);

const AlertChannelKindEnum = describedEnum('AlertChannelKind', 'Where a channel sends.', ALERT_CHANNEL_KINDS, {
  WEBHOOK: 'To a URL, signed as Standard Webhooks says.',
  EMAIL: 'To an e-mail address.',
  SLACK: 'To an incoming webhook of Slack, or of a service that takes its format.',
  DISCORD: 'To a webhook of Discord.',
  NTFY: 'To a topic of an ntfy server.',
});

const AlertChannelStateEnum = describedEnum('AlertChannelState', 'The state of a channel.', ALERT_CHANNEL_STATES, {
  UNCONFIRMED: 'Its e-mail address gets nothing but a code until `confirmAlertChannel` is called with that.',
  ACTIVE: 'It gets alerts.',
  DISABLED: 'It took no messages, and gets none. `disabledReason` says why, and `enableAlertChannel` tests it again.',
});

const AlertDeliveryStatusEnum = describedEnum(
  'AlertDeliveryStatus',
  'The state of a delivery.',
  ALERT_DELIVERY_STATUSES,
  {
    PENDING: 'It waits for its first or its next attempt.',
    DELIVERED: 'The channel has taken it.',
    FAILED: 'It is not tried again. `error` says why.',
    EXPIRED: 'No attempt within 24 hours was successful, or no worker has taken the test in time.',
    MERGED: 'Another message of the channel reports it too.',
    SUPPRESSED: 'The workflow was muted. Nobody was alerted.',
  },
);

export const AlertChannel = builder.objectRef<AlertChannelRow>('AlertChannel');
AlertChannel.implement({
  description: 'Where your alerts go, and which of them. Its URL, token and signing secret cannot be read back.',
  interfaces: [Node],
  fields: (t) => ({
    name: t.exposeString('name', { description: 'The name that its owner gave it.' }),
    kind: t.field({
      type: AlertChannelKindEnum,
      description: 'Where it sends. It never changes.',
      resolve: ({ kind }) => kind,
    }),
    target: t.string({
      description: 'The e-mail address, or the host of the URL and the last four characters of what is secret.',
      resolve: ({ config }) => config.shown,
    }),
    state: t.field({ type: AlertChannelStateEnum, description: 'Its state.', resolve: ({ state }) => state }),
    events: t.field({
      type: [AlertEventEnum],
      description: 'The events that it reports.',
      resolve: ({ events }) => events,
    }),
    isDefault: t.exposeBoolean('isDefault', {
      description: 'Whether workflows use it that have not chosen channels of their own.',
    }),
    includeLog: t.exposeBoolean('includeLog', {
      description: 'Whether alerts about a job show the end of its log, without secrets.',
    }),
    disabledReason: t.exposeString('disabledReason', {
      nullable: true,
      description: 'Why it was disabled. Null unless it is DISABLED.',
    }),
    confirmationExpiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Until when the code is valid that was sent to the address. Null unless the channel is UNCONFIRMED.',
      resolve: ({ confirmation }) => confirmation && new Date(confirmation.expiresAt),
    }),
    confirmationTriesLeft: t.int({
      nullable: true,
      description: 'How many more wrong codes are looked at. Null unless the channel is UNCONFIRMED.',
      resolve: ({ confirmation }) => confirmation?.triesLeft,
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When the channel was created.',
      resolve: ({ createdAt }) => createdAt,
    }),
  }),
});

export const AlertDelivery = builder.objectRef<AlertDeliveryRow>('AlertDelivery');

export const Incident = builder.objectRef<IncidentRow>('Incident');
Incident.implement({
  description: 'The failures in a row of a workflow, from `alertAfterFailures` on until a job completes.',
  interfaces: [Node],
  fields: (t) => ({
    workflow: t.field({
      type: Workflow,
      description: 'The workflow.',
      resolve: async ({ workflowId }, _, context) => orNotFound(await workflowFor(context, workflowId)),
    }),
    job: t.field({
      type: Job,
      nullable: true,
      description: 'The job whose failure began the incident. Null if it no longer exists.',
      resolve: ({ jobId }, _, { load }) => load.job(jobId),
    }),
    failures: t.exposeInt('failures', {
      description: 'How many jobs in a row have failed, those before the incident included.',
    }),
    openedAt: t.field({
      type: 'DateTime',
      description: 'When the incident began.',
      resolve: ({ openedAt }) => openedAt,
    }),
    resolvedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it ended: a job completed, or the workflow was terminated. Null until then.',
      resolve: ({ resolvedAt }) => resolvedAt,
    }),
  }),
});

AlertDelivery.implement({
  description: 'A message to an alert channel, from its event to its end. Kept for 30 days.',
  interfaces: [Node],
  fields: (t) => ({
    channel: t.field({
      type: AlertChannel,
      nullable: true,
      description: 'The channel. Null once it is deleted.',
      resolve: ({ channelId }, _, { load }) => load.alertChannel(channelId),
    }),
    channelName: t.string({
      description: 'The name of the channel, also once that is deleted.',
      resolve: async ({ channelId }, _, { load }) => orNotFound(await load.anyAlertChannel(channelId)).name,
    }),
    event: t.field({ type: AlertDeliveryEventEnum, description: 'What it carries.', resolve: ({ event }) => event }),
    status: t.field({ type: AlertDeliveryStatusEnum, description: 'Its state.', resolve: ({ status }) => status }),
    attempt: t.exposeInt('attempt', { description: 'How many attempts were made that count.' }),
    error: t.string({
      nullable: true,
      description: 'Why the last attempt failed, or why there was none. Null if nothing has failed.',
      resolve: ({ lastError }) => lastError,
    }),
    workflow: t.field({
      type: Workflow,
      nullable: true,
      description: 'The workflow. Null if no workflow is concerned, or if it was purged.',
      resolve: ({ workflowId }, _, context) => (workflowId === null ? null : workflowFor(context, workflowId)),
    }),
    job: t.field({
      type: Job,
      nullable: true,
      description: 'The job. Null if no job is concerned, or if it no longer exists.',
      resolve: ({ jobId }, _, { load }) => (jobId === null ? null : load.job(jobId)),
    }),
    incident: t.field({
      type: Incident,
      nullable: true,
      description: 'The incident that began or ended. Null if none did, or if it no longer exists.',
      resolve: ({ incidentId }, _, { load }) => (incidentId === null ? null : load.incident(incidentId)),
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When the event happened.',
      resolve: ({ createdAt }) => createdAt,
    }),
    deliveredAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the channel has taken it. Null unless it is DELIVERED.',
      resolve: ({ deliveredAt }) => deliveredAt,
    }),
  }),
});

const AlertDeliveryConnection = countedConnectionOf<AlertDeliveryRow>(AlertDelivery, 'AlertDelivery', 'newest first');

builder.objectField(AlertChannel, 'deliveries', (t) =>
  t.field({
    type: AlertDeliveryConnection,
    description: 'What was sent, and what waits, newest first.',
    args: {
      ...forwardPagingArgs(),
      status: t.arg({ type: AlertDeliveryStatusEnum, description: 'Only deliveries with this status.' }),
    },
    extensions: cost({
      base: STATEMENT_COST,
      given: { arguments: ['status'], cost: SEARCH_COST },
      pageSize: PAGE_SIZE,
    }),
    resolve: async ({ id }, { status, ...args }, { load }) => {
      const window = windowOf(args);
      const asked = { channelId: id, status: status ?? undefined };
      const rows = await load.alertDeliveries({ ...asked, count: window.count, after: window.after });
      return counted(pageOf(rows, window), () => load.alertDeliveryCount(asked));
    },
  }),
);

builder.objectField(User, 'alertChannels', (t) =>
  t.field({
    type: [AlertChannel],
    description: `The alert channels of the account, oldest first: at most ${ALERT_CHANNELS_PER_USER_MAX}.`,
    extensions: cost({ base: STATEMENT_COST, itemsMax: ALERT_CHANNELS_PER_USER_MAX }),
    resolve: ({ id }, _, { load }) => load.alertChannels(id),
  }),
);

builder.objectFields(Workflow, (t) => ({
  alertAfterFailures: t.exposeInt('alertAfterFailures', {
    description: 'When this many jobs in a row have failed, an incident begins.',
  }),
  alertChannels: t.field({
    type: [AlertChannel],
    nullable: { list: true, items: false },
    description: `The alert channels that the workflow uses, oldest first: at most ${ALERT_CHANNELS_PER_WORKFLOW_MAX}. Null if it uses your default ones.`,
    extensions: cost({ base: STATEMENT_COST, itemsMax: ALERT_CHANNELS_PER_WORKFLOW_MAX }),
    resolve: ({ id, hasOwnAlertChannels }, _, { load }) => (hasOwnAlertChannels ? load.ownAlertChannels(id) : null),
  }),
  openIncident: t.field({
    type: Incident,
    nullable: true,
    description: 'The incident of the workflow that is not over. Null if there is none.',
    extensions: cost({ base: STATEMENT_COST }),
    resolve: ({ id }, _, { load }) => load.openIncident(id),
  }),
  mutedUntil: t.field({
    type: 'DateTime',
    nullable: true,
    description: 'Until when the workflow is muted: its alerts are SUPPRESSED. Null if it is not muted.',
    resolve: (workflow) => mutedUntil(workflow),
  }),
}));
