import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { anyBuilds, anyJobs, anyWorkflows, workflowsChangedSince } from '../../db/lookup.ts';
import type { BuildRow, JobRow, WorkflowRow } from '../../db/schema.ts';
import { decodeChanged, userChannel } from '../../domain/hints.ts';
import { settledWithin } from '../../platform/async/deadline.ts';
import { startRepeating } from '../../platform/async/repeat.ts';
import type { Cache } from '../../platform/cache/cache.ts';
import { ofUsers, ofWorkflows } from './job-list-kinds.ts';
import { JobLists } from './job-lists.ts';
import { NotificationFeed } from './notification-feed.ts';
import { type Listener, WatchedRows } from './row-watcher.ts';
import { WorkflowLists } from './workflow-lists.ts';

/**
 * Delivers changed rows to all subscribers of the process: by hints on one channel for each user,
 * and by a slow re-check of the rows for lost hints.
 */
export interface Changes {
  readonly jobs: WatchedRows<JobRow>;
  readonly builds: WatchedRows<BuildRow>;
  readonly workflows: WatchedRows<WorkflowRow>;
  readonly notifications: NotificationFeed;
  /**
   * Subscribes to hints about the user's rows, and resolves when they arrive (or cannot, for now).
   * Every call needs its `leave`.
   */
  join(userId: string): Promise<() => void>;
  /** Follows the jobs of one workflow. */
  watchJobsOf(workflow: WorkflowRow, listener: Listener<JobRow>): FollowedJobs;
  /** Follows all jobs of one user. */
  watchJobsOfUser(userId: string, listener: Listener<JobRow>): FollowedJobs;
  /**
   * Follows all workflows of one user that change after `since`. A purged one comes as it was, with
   * `purgeRequestedAt`, from the moment at which `ready` resolves.
   */
  watchWorkflowsOf(
    userId: string,
    since: Date,
    listener: Listener<WorkflowRow>,
  ): { ready: Promise<void>; leave(): void };
  close(): void;
}

export interface FollowedJobs {
  /**
   * Reads the newest `count` jobs and those that have not ended, in the order of their ids. From
   * then on the re-check finds changes.
   */
  read(count: number): Promise<JobRow[]>;
  leave(): void;
}

export function createChanges({ db, cache, log }: { db: Db; cache: Cache; log: Logger }): Changes {
  const jobs = new WatchedRows((ids) => anyJobs(db, ids), log);
  const builds = new WatchedRows((ids) => anyBuilds(db, ids), log);
  const workflows = new WatchedRows(
    (ids) => anyWorkflows(db, ids),
    log,
    (ids) => reportPurged(workflowLists.purged(ids)),
  );
  const notifications = new NotificationFeed(db);
  const channels = new Map<string, Channel>();
  const jobsOfWorkflows = new JobLists(ofWorkflows(db));
  const jobsOfUsers = new JobLists(ofUsers(db));
  const workflowLists = new WorkflowLists(db);
  const purgeListeners = new Map<string, Set<Listener<WorkflowRow>>>();
  let looks = 0;
  const usersWithWorkflows = counter();
  const since = new Map<string, Date>();

  function recheck(): void {
    jobs.recheck();
    builds.recheck();
    workflows.recheck();
    notifications.recheck();
  }

  async function recheckWide(): Promise<void> {
    jobs.deliver(await jobsOfWorkflows.recheck());
    jobs.deliver(await jobsOfUsers.recheck());
    looks += 1;
    if (looks % LOOKS_PER_PURGE_CHECK === 0) reportPurged(await workflowLists.recheck());
    const userIds = usersWithWorkflows.keys();
    if (userIds.length === 0) return;
    const from = Math.min(...userIds.map((id) => since.get(id)?.getTime() ?? Number.POSITIVE_INFINITY));
    const changed = await workflowsChangedSince(db, userIds, new Date(from));
    workflows.deliver(changed);
    const newest = changed.at(-1)?.updatedAt;
    if (!newest) return;
    // A transaction can commit after one that began later, so the next look begins some time before
    // the last row seen.
    for (const id of userIds)
      since.set(id, new Date(Math.max(newest.getTime() - OVERLAP_MS, since.get(id)?.getTime() ?? 0)));
  }

  function reportPurged(rows: WorkflowRow[]): void {
    for (const row of rows) for (const listener of purgeListeners.get(row.userId) ?? []) listener(row);
  }

  // Of its own: a slow look at the lists does not delay it.
  const timer = setInterval(recheck, RECHECK_MS).unref();
  const stopRechecking = startRepeating(
    { log, what: 'The re-check of watched lists', everyMs: RECHECK_MS, maxMs: RECHECK_MS, waitsFirst: true },
    recheckWide,
  );

  return {
    jobs,
    builds,
    workflows,
    notifications,
    async join(userId) {
      const channel = channels.get(userId) ?? openChannel(userId);
      channels.set(userId, channel);
      channel.members += 1;
      await settledWithin(channel.ready, JOIN_WAIT_MS);
      return once(() => {
        channel.members -= 1;
        if (channel.members > 0) return;
        channels.delete(userId);
        channel.close();
      });
    },
    watchJobsOf(workflow, listener) {
      return followList(jobsOfWorkflows, workflow.id, workflow.userId, (job) => {
        if (job?.workflowId === workflow.id) listener(job);
      });
    },
    watchJobsOfUser(userId, listener) {
      return followList(jobsOfUsers, userId, userId, listener);
    },
    watchWorkflowsOf(userId, from, listener) {
      since.set(userId, new Date(Math.min(from.getTime(), since.get(userId)?.getTime() ?? Number.POSITIVE_INFINITY)));
      const release = usersWithWorkflows.add(userId);
      const list = workflowLists.follow(userId);
      const unwatch = workflows.watchUser(userId, (row) => {
        if (row) workflowLists.note(row);
        listener(row);
      });
      const listeners = purgeListeners.get(userId) ?? new Set();
      purgeListeners.set(userId, listeners.add(listener));
      const leave = once(() => {
        unwatch();
        release();
        list.release();
        listeners.delete(listener);
        if (listeners.size === 0 && purgeListeners.get(userId) === listeners) purgeListeners.delete(userId);
        if (!usersWithWorkflows.keys().includes(userId)) since.delete(userId);
      });
      return { ready: list.ready, leave };
    },
    close() {
      clearInterval(timer);
      void stopRechecking(); // a query under way ends by itself
      for (const channel of channels.values()) channel.close();
    },
  };

  function followList(lists: JobLists, key: string, userId: string, listener: Listener<JobRow>): FollowedJobs {
    const release = lists.follow(key);
    const unwatch = jobs.watchUser(userId, listener);
    const leave = once(() => {
      unwatch();
      release();
    });
    return { read: (count) => lists.read(key, count), leave };
  }

  function openChannel(userId: string): Channel {
    const subscription = cache.subscribe(
      userChannel(userId),
      (message) => {
        const changed = decodeChanged(message);
        jobs.hint(userId, changed.jobs ?? []);
        builds.hint(userId, changed.builds ?? []);
        workflows.hint(userId, changed.workflows ?? []);
        notifications.hint(userId, changed.notifications ?? []);
      },
      recheck,
    );
    const ready = subscription.then(
      () => undefined,
      (error: unknown) => log.warn({ err: error }, 'Live hints cannot be heard; changes come by the slow re-check.'),
    );
    return {
      members: 0,
      ready,
      close: () => {
        subscription.then(
          (unsubscribe) => unsubscribe(),
          () => undefined, // logged above
        );
      },
    };
  }
}

interface Channel {
  members: number;
  ready: Promise<void>;
  close(): void;
}

const RECHECK_MS = 3_000;
// Without the cache a subscription starts anyway, and relies on the re-check.
const JOIN_WAIT_MS = 2_000;
const OVERLAP_MS = 60_000;
/** A purge whose hint was lost is found after 30 s. */
const LOOKS_PER_PURGE_CHECK = 10;

function counter() {
  const counts = new Map<string, number>();
  return {
    keys: () => [...counts.keys()],
    add(key: string): () => void {
      counts.set(key, (counts.get(key) ?? 0) + 1);
      return () => {
        const left = (counts.get(key) ?? 0) - 1;
        if (left > 0) counts.set(key, left);
        else counts.delete(key);
      };
    },
  };
}

function once(run: () => void): () => void {
  let done = false;
  return () => {
    if (!done) run();
    done = true;
  };
}
