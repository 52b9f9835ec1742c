import { randomUUID } from 'node:crypto';
import * as accounts from '../../db/accounts/accounts.ts';
import * as audit from '../../db/accounts/audit.ts';
import { listSessions } from '../../db/accounts/sessions.ts';
import * as tokens from '../../db/accounts/tokens.ts';
import { readUserTotals, readWorkflowTotals } from '../../db/analytics.ts';
import * as images from '../../db/builds/images.ts';
import type { Db } from '../../db/client.ts';
import * as follow from '../../db/jobs/follow.ts';
import { jobStates } from '../../db/jobs/leases.ts';
import * as jobLists from '../../db/listing/jobs.ts';
import { countWorkflows, listWorkflows } from '../../db/listing/workflows.ts';
import * as partitions from '../../db/logs/partitions.ts';
import * as logs from '../../db/logs/read.ts';
import { lookThrough } from '../../db/logs/retention.ts';
import * as lookup from '../../db/lookup.ts';
import * as notifications from '../../db/notifications.ts';
import { loadPayloads } from '../../db/payloads.ts';
import * as volumes from '../../db/volumes.ts';
import { NO_ID } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { CONTAINER, type Drive, dispatched, HEARTBEAT, idsOf, make } from './scenario-rows.ts';

/** All reads: what the API shows of one user, and what workers read for a few ids. */
export async function readsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT);
  const built = await make(db, userId, CONTAINER);
  const workflowIds = idsOf(own);
  const jobIds = await dispatched(db, own);
  await pagesOf(db, drive, { userId, workflowIds });
  await rowsOf(db, drive, { userId, workflowIds, jobIds, buildIds: built.map(({ buildId }) => buildId) });
  await linesOf(db, drive, jobIds);
  await accountOf(db, drive, userId);

  const generations = workflowIds.map((workflowId) => ({ workflowId, generation: 1 }));
  await drive(loadPayloads, db, generations);
  await drive(lookup.payloadsOf, db, generations);
  await drive(images.neededGenerations, db, generations);
  await drive(images.workflowsBuilding, db, workflowIds);
  await drive(images.wasPulledFor, db, { userId, imageId: 'sha256:1', repository: 'r/i' });
  await drive(images.privateNames, db, 'sha256:1', { image: 'r/i:1', repository: 'r/i' }, false);
  await drive(jobStates, db, jobIds);
  await drive(lookup.databaseNow, db);
}

async function pagesOf(db: Db, drive: Drive, of: { userId: string; workflowIds: string[] }): Promise<void> {
  const { userId, workflowIds } = of;
  const first = { count: 20, backwards: false };
  const last = { count: 20, backwards: true, before: NO_ID };
  for (const window of [first, last]) {
    await drive(listWorkflows, db, userId, {}, window);
    await drive(jobLists.listJobs, db, { userId }, {}, window);
    await drive(jobLists.listJobs, db, { userId, workflowIds }, {}, window);
    await drive(jobLists.listJobSummaries, db, { userId }, {}, window);
    await drive(volumes.listVolumes, db, userId, window);
    for (const unreadOnly of [true, false])
      await drive(notifications.listNotifications, db, { userId, unreadOnly }, window);
  }
  const filter = { kind: 'CONTAINER', terminated: false, nameContains: 'a' } as const;
  await drive(listWorkflows, db, userId, filter, first);
  const by = { count: 20, backwards: false, after: NO_ID };
  await drive(listWorkflows, db, userId, {}, { ...by, order: 'NAME', ascending: true, afterKey: 'a' });
  for (const order of ['UPDATED_AT', 'NEXT_RUN_AT'] as const)
    await drive(listWorkflows, db, userId, {}, { ...by, order, backwards: true, afterKey: '1' });
  await drive(jobLists.listJobs, db, { userId }, { status: ['QUEUED', 'RUNNING'] }, { ...first, ascending: true });
  await drive(jobLists.listJobSummaries, db, { userId, workflowIds }, {}, first);
  await drive(jobLists.listJobsByWorkflow, db, workflowIds, {}, first);
  await drive(jobLists.listJobSummariesByWorkflow, db, workflowIds, {}, first);
  await drive(countWorkflows, db, userId, filter, 10);
  for (const of of [{ userId }, { userId, workflowIds }])
    await drive(jobLists.countJobs, db, of, { status: ['QUEUED'] }, 10);
  await drive(jobLists.countJobsByWorkflow, db, workflowIds, {}, 10);
  await drive(volumes.countVolumes, db, userId, 10);
  await drive(notifications.countNotifications, db, { userId, unreadOnly: true }, 10);
  await drive(volumes.workflowsByVolume, db, userId, ['work', 'cache'], 5);
  const range = { from: new Date(Date.now() - 3.5 * DAY_MS), to: new Date() };
  await drive(readUserTotals, db, userId, range);
  await drive(readWorkflowTotals, db, workflowIds, range);
}

type Ids = { userId: string; workflowIds: string[]; jobIds: string[]; buildIds: string[] };

async function rowsOf(db: Db, drive: Drive, { userId, workflowIds, jobIds, buildIds }: Ids): Promise<void> {
  await drive(lookup.workflowsOf, db, userId, workflowIds);
  await drive(lookup.workflowLabelsOf, db, userId, workflowIds);
  await drive(lookup.jobsOf, db, userId, jobIds);
  await drive(lookup.buildsOf, db, userId, buildIds);
  await drive(lookup.anyWorkflows, db, workflowIds);
  await drive(lookup.anyJobs, db, jobIds);
  await drive(lookup.anyBuilds, db, buildIds);
  await drive(lookup.newestBuilds, db, workflowIds);
  await drive(follow.newestJobs, db, workflowIds, 3);
  await drive(follow.jobsToFollow, db, workflowIds[0] ?? NO_ID, 3);
  const asked = workflowIds.map((workflowId) => ({ workflowId, after: NO_ID, open: jobIds.slice(0, 1) }));
  await drive(follow.jobsToRecheck, db, asked, 3);
  await drive(follow.jobsOfUserToFollow, db, userId, { count: 3, openMax: 10 });
  await drive(follow.jobsOfUsersToRecheck, db, [{ userId, after: NO_ID, open: jobIds.slice(0, 1) }], 3);
  await drive(lookup.workflowsChangedSince, db, [userId], new Date(Date.now() - 1_000));
  await drive(lookup.newestWorkflowsOf, db, userId, 20);
  await drive(lookup.keptWorkflows, db, workflowIds);
  await drive(lookup.schedulesOf, db, workflowIds);
  await drive(notifications.anyNotifications, db, [randomUUID()]);
  await drive(notifications.notificationsOf, db, userId, [randomUUID()]);
  await drive(notifications.notificationsAfter, db, [{ userId, after: NO_ID }], 20);
}

async function linesOf(db: Db, drive: Drive, jobIds: string[]): Promise<void> {
  const [id = NO_ID] = jobIds;
  await drive(logs.chunksAfter, db, id, 0, 10);
  const places = jobIds.map((sourceId) => ({ sourceId, at: null, count: 10 }));
  await drive(logs.chunksOfLogs, db, places, { backwards: true, bytesMax: 1_000_000 });
  const starts = places.map((place) => ({ ...place, at: 1 }));
  await drive(logs.chunksOfLogs, db, starts, { backwards: false, bytesMax: 1_000_000 });
  await drive(logs.lastLogNumber, db, id);
  await drive(lookup.firstLineNumbers, db, jobIds);
  await drive(lookup.lastLineNumbers, db, jobIds);
  const day = (await partitions.logPartitionsBefore(db, { days: -3 })).at(0);
  if (day === undefined) throw new Error('There is a partition of today.');
  await drive(lookThrough, db, day, { days: 1, limit: 10 });
}

async function accountOf(db: Db, drive: Drive, userId: string): Promise<void> {
  await drive(accounts.findUserByEmail, db, 'nobody@example.com', '10.0.0.1');
  await drive(accounts.hasAccounts, db);
  await drive(accounts.listUsers, db, { after: NO_ID, limit: 10 });
  await drive(audit.listAuditEvents, db, { userId }, { count: 10, backwards: false });
  const after = randomUUID();
  await drive(audit.listAuditEvents, db, { userId: undefined }, { count: 10, backwards: false, after });
  await drive(audit.listAuditEvents, db, { userId }, { count: 10, backwards: true, before: after });
  for (const of of [{ userId }, { userId: undefined }]) await drive(audit.countAuditEvents, db, of, 10);
  await drive(audit.findAuditEvents, db, { ids: [after], userId });
  await drive(listSessions, db, [userId]);
  await drive(tokens.listApiTokens, db, [userId]);
  await drive(tokens.findApiToken, db, { userId, id: randomUUID() });
  await drive(tokens.findIdentities, db, [Buffer.alloc(32)]);
  await drive(tokens.findValidTokens, db, [randomUUID()]);
  await drive(tokens.isTokenValid, db, randomUUID());
}
