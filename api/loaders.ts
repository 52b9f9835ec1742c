import DataLoader from 'dataloader';
import { listSessions } from '../db/accounts/sessions.ts';
import { listApiTokens } from '../db/accounts/tokens.ts';
import {
  alertChannelsOf,
  alertDeliveriesOf,
  countDeliveriesByChannel,
  type DeliveryWindow,
  incidentsOf,
  listAlertChannels,
  listDeliveriesByChannel,
  openIncidents,
  ownAlertChannels,
} from '../db/alert-channels/lookup.ts';
import { readWorkflowTotals, type Total } from '../db/analytics.ts';
import type { Db } from '../db/client.ts';
import { newestJobs } from '../db/jobs/follow.ts';
import { waitsOfTurns } from '../db/jobs/turns.ts';
import {
  countJobsByWorkflow,
  type JobFilter,
  type JobSummary,
  listJobSummariesByWorkflow,
  listJobsByWorkflow,
} from '../db/listing/jobs.ts';
import type { IdWindow } from '../db/listing/window.ts';
import {
  buildsOf,
  firstLineNumbers,
  jobsOf,
  lastLineNumbers,
  newestBuilds,
  payloadsOf,
  type ScheduleRow,
  schedulesOf,
  type WorkflowLabel,
  workflowLabelsOf,
  workflowsOf,
} from '../db/lookup.ts';
import { notificationsOf } from '../db/notifications.ts';
import { pingTokensOf } from '../db/pings/tokens.ts';
import type {
  AlertChannelRow,
  AlertDeliveryRow,
  BuildRow,
  IncidentRow,
  JobRow,
  NotificationRow,
  TokenRow,
  WorkflowRow,
} from '../db/schema.ts';
import { workflowsByVolume } from '../db/volumes.ts';
import type { TimeRange } from '../domain/analytics.ts';
import { isId } from '../domain/ids.ts';
import { COUNTED_MAX, VOLUME_WORKFLOWS_MAX } from '../domain/limits.ts';
import type { Payload } from '../domain/payload/payload.ts';
import { setReads } from '../platform/async/set-reads.ts';

/**
 * Reads rows for the requests of one user: what resolvers ask for in the same tick is one query,
 * and rows by their ids are read in sets for all of the user's requests.
 * Nothing is cached, because a mutation changes rows and a subscription lasts for hours. The first
 * nine return only the viewer's own rows; the others must be given ids that came from those.
 */
export interface Loaders {
  workflow(id: string): Promise<WorkflowRow | undefined>;
  workflowLabel(id: string): Promise<WorkflowLabel | undefined>;
  job(id: string): Promise<JobRow | undefined>;
  build(id: string): Promise<BuildRow | undefined>;
  notification(id: string): Promise<NotificationRow | undefined>;
  alertChannel(id: string): Promise<AlertChannelRow | undefined>;
  /** Also one that is deleted. */
  anyAlertChannel(id: string): Promise<AlertChannelRow | undefined>;
  alertDelivery(id: string): Promise<AlertDeliveryRow | undefined>;
  incident(id: string): Promise<IncidentRow | undefined>;

  newestBuild(workflowId: string): Promise<BuildRow | undefined>;
  newestJob(workflowId: string): Promise<JobRow | undefined>;
  jobs(page: JobPage): Promise<JobRow[]>;
  jobSummaries(page: JobPage): Promise<JobSummary[]>;
  /** The number of the jobs, or COUNTED_MAX + 1 if there are more than COUNTED_MAX. */
  jobCount(asked: { workflowId: string; filter: JobFilter }): Promise<number>;
  schedule(workflowId: string): Promise<ScheduleRow | undefined>;
  /** The token of the ping URL, sealed. */
  pingToken(workflowId: string): Promise<string | undefined>;
  totals(asked: { workflowId: string; range: TimeRange }): Promise<Total[]>;
  payload(workflow: WorkflowRow): Promise<Payload | undefined>;
  firstLineNumber(sourceId: string): Promise<number | undefined>;
  lastLineNumber(sourceId: string): Promise<number>;
  /** What the turn of a QUEUED job waits for, if no engine that works now can run the job. */
  waitOfTurn(jobId: string): Promise<string | undefined>;
  apiTokens(userId: string): Promise<TokenRow[]>;
  sessions(userId: string): Promise<TokenRow[]>;
  alertChannels(userId: string): Promise<AlertChannelRow[]>;
  /** The channels that a workflow has chosen itself. */
  ownAlertChannels(workflowId: string): Promise<AlertChannelRow[]>;
  openIncident(workflowId: string): Promise<IncidentRow | undefined>;
  alertDeliveries(page: DeliveryWindow & { channelId: string }): Promise<AlertDeliveryRow[]>;
  /** The number of the deliveries, or COUNTED_MAX + 1 if there are more than COUNTED_MAX. */
  alertDeliveryCount(asked: Pick<DeliveryWindow, 'status'> & { channelId: string }): Promise<number>;
  /** The ids of the viewer's workflows that name the volume. */
  workflowsOfVolume(name: string): Promise<string[]>;
}

interface JobPage {
  workflowId: string;
  filter: JobFilter;
  window: IdWindow;
}

export function createLoaders(db: Db, userId: () => string): Loaders {
  const workflow = byId((ids) => workflowsOf(db, userId(), ids));
  const workflowLabel = byId((ids) => workflowLabelsOf(db, userId(), ids));
  const job = byId((ids) => jobsOf(db, userId(), ids));
  const build = byId((ids) => buildsOf(db, userId(), ids));
  const notification = byId((ids) => notificationsOf(db, userId(), ids));

  const anyAlertChannel = byId((ids) => alertChannelsOf(db, userId(), ids));
  const alertDelivery = byId((ids) => alertDeliveriesOf(db, userId(), ids));
  const incident = byId((ids) => incidentsOf(db, userId(), ids));

  const newestBuild = batched<BuildRow | undefined>(async (ids) => {
    const found = new Map((await newestBuilds(db, ids)).map((row) => [row.workflowId, row]));
    return (id) => found.get(id);
  });
  const newestJob = batched<JobRow | undefined>(async (ids) => {
    const found = new Map((await newestJobs(db, ids, 1)).map((row) => [row.workflowId, row]));
    return (id) => found.get(id);
  });
  const schedule = batched<ScheduleRow | undefined>(async (ids) => {
    const found = new Map((await schedulesOf(db, ids)).map((row) => [row.workflowId, row]));
    return (id) => found.get(id);
  });
  const pingToken = batched<string | undefined>(async (ids) => {
    const found = new Map((await pingTokensOf(db, ids)).map((row) => [row.workflowId, row.token]));
    return (id) => found.get(id);
  });
  const firstLineNumber = setReads<number | undefined>(async (ids) => {
    const found = await firstLineNumbers(db, ids);
    return (id) => found.get(id);
  });
  const lastLineNumber = batched<number>(async (ids) => {
    const found = await lastLineNumbers(db, ids);
    return (id) => found.get(id) ?? 0;
  });
  const waitOfTurn = batched<string | undefined>(async (ids) => {
    const found = await waitsOfTurns(db, ids);
    return (id) => found.get(id);
  });
  const apiTokens = batched<TokenRow[]>(async (ids) => {
    const found = await listApiTokens(db, ids);
    return (id) => found.filter((row) => row.userId === id);
  });
  const sessions = batched<TokenRow[]>(async (ids) => {
    const found = await listSessions(db, ids);
    return (id) => found.filter((row) => row.userId === id);
  });
  const alertChannels = batched<AlertChannelRow[]>(async (ids) => {
    const found = await listAlertChannels(db, ids);
    return (id) => found.filter((row) => row.userId === id);
  });
  const chosenAlertChannels = batched<AlertChannelRow[]>(async (ids) => {
    const found = new Map<string, AlertChannelRow[]>();
    for (const { workflowId, channel } of await ownAlertChannels(db, ids))
      found.set(workflowId, [...(found.get(workflowId) ?? []), channel]);
    return (id) => found.get(id) ?? [];
  });
  const openIncident = batched<IncidentRow | undefined>(async (ids) => {
    const found = new Map((await openIncidents(db, ids)).map((row) => [row.workflowId, row]));
    return (id) => found.get(id);
  });
  const alertDeliveries = byShape<DeliveryWindow, AlertDeliveryRow[]>(async (ids, window) => {
    const found = await listDeliveriesByChannel(db, ids, window);
    return (id) => found.get(id) ?? [];
  });
  const alertDeliveryCount = byShape<Pick<DeliveryWindow, 'status'>, number>(async (ids, { status }) => {
    const found = await countDeliveriesByChannel(db, ids, { status, max: COUNTED_MAX });
    return (id) => found.get(id) ?? 0;
  });
  const workflowsOfVolume = batched<string[]>(async (names) => {
    const found = await workflowsByVolume(db, userId(), names, VOLUME_WORKFLOWS_MAX);
    return (name) => found.get(name) ?? [];
  });
  const payload = batched<Payload | undefined>(async (keys) => {
    const found = await payloadsOf(
      db,
      keys.map((key) => ({ workflowId: key.slice(0, UUID_LENGTH), generation: Number(key.slice(UUID_LENGTH)) })),
    );
    const byKey = new Map(found.map((row) => [`${row.workflowId}${row.generation}`, row.payload]));
    return (key) => byKey.get(key);
  }, PAYLOADS_PER_READ_MAX);
  const totals = byShape<TimeRange, Total[]>(async (ids, range) => {
    const found = await readWorkflowTotals(db, ids, range);
    return (id) => found.filter((row) => row.scopeId === id);
  });
  const jobCount = byShape<JobFilter, number>(async (ids, filter) => {
    const found = await countJobsByWorkflow(db, ids, filter, COUNTED_MAX);
    return (id) => found.get(id) ?? 0;
  });
  const jobs = pages(listJobsByWorkflow);
  const jobSummaries = pages(listJobSummariesByWorkflow);
  /** One loader for each requested window: few, because a document has few fields. */
  function pages<Row>(read: (...asked: Parameters<typeof listJobsByWorkflow>) => Promise<Map<string, Row[]>>) {
    const byWindow = new Map<string, (workflowId: string) => Promise<Row[]>>();
    return ({ workflowId, filter, window }: JobPage): Promise<Row[]> => {
      const key = JSON.stringify([filter, window]);
      const page =
        byWindow.get(key) ??
        batched<Row[]>(
          async (ids) => {
            byWindow.delete(key);
            const found = await read(db, ids, filter, window);
            return (id) => found.get(id) ?? [];
          },
          Math.ceil(ROWS_PER_READ_AIM / window.count),
        );
      byWindow.set(key, page);
      return page(workflowId);
    };
  }

  return {
    workflow,
    workflowLabel,
    job,
    build,
    notification,
    alertChannel: async (id) => {
      const row = await anyAlertChannel(id);
      return row?.deletedAt === null ? row : undefined;
    },
    anyAlertChannel,
    alertDelivery,
    incident,
    newestBuild,
    newestJob,
    schedule,
    pingToken,
    firstLineNumber,
    lastLineNumber,
    waitOfTurn,
    apiTokens,
    sessions,
    alertChannels,
    ownAlertChannels: chosenAlertChannels,
    openIncident,
    alertDeliveries: ({ channelId, ...window }) => alertDeliveries(window, channelId),
    alertDeliveryCount: ({ channelId, status }) => alertDeliveryCount({ status }, channelId),
    workflowsOfVolume,
    jobs,
    jobSummaries,
    totals: ({ workflowId, range }) => totals(range, workflowId),
    jobCount: ({ workflowId, filter }) => jobCount(filter, workflowId),
    payload: ({ id, generation }) => payload(`${id}${generation}`),
  };
}

const UUID_LENGTH = 36;
const BATCH_MAX = 1_000;
/**
 * Rows that are read together are added to the answer without a pause: 10,000 of them kept the
 * process busy for some tenths of a second.
 */
const ROWS_PER_READ_AIM = 1_000;
const PAYLOADS_PER_READ_MAX = 20;

/** Treats a malformed id as an unknown one. */
function byId<Row extends { id: string }>(read: (ids: string[]) => Promise<Row[]>) {
  const load = setReads<Row | undefined>(async (ids) => {
    const found = new Map((await read(ids)).map((row) => [row.id, row]));
    return (id) => found.get(id);
  });
  return async (id: string) => (isId(id) ? load(id.toLowerCase()) : undefined);
}

/**
 * One batch for each shape of a question in the same turn: few, because a document has few fields.
 */
function byShape<Shape, Value>(read: (keys: string[], shape: Shape) => Promise<(key: string) => Value>) {
  const loaders = new Map<string, (key: string) => Promise<Value>>();
  return (shape: Shape, key: string): Promise<Value> => {
    const name = JSON.stringify(shape);
    const load =
      loaders.get(name) ??
      batched<Value>((keys) => {
        loaders.delete(name);
        return read(keys, shape);
      });
    loaders.set(name, load);
    return load(key);
  };
}

/**
 * Reads at most `maxBatchSize` keys at a time, one batch after the other, so that others are served
 * in between.
 */
function batched<Value>(
  read: (keys: string[]) => Promise<(key: string) => Value>,
  maxBatchSize = BATCH_MAX,
): (key: string) => Promise<Value> {
  // One for each turn: it would keep its last keys, and with each the text that it was sliced from.
  let loader: DataLoader<string, Value> | undefined;
  function beginLoader(): DataLoader<string, Value> {
    let before: Promise<unknown> = Promise.resolve();
    return new DataLoader<string, Value>(
      async (keys) => {
        loader = undefined;
        const reading = before.then(() => read([...new Set(keys)]));
        before = reading.catch(() => undefined); // a failure is its own batch's
        const find = await reading;
        return keys.map((asked) => find(asked));
      },
      { cache: false, maxBatchSize },
    );
  }
  return (key) => {
    loader ??= beginLoader();
    return loader.load(key);
  };
}
