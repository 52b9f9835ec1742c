/** A statement that breaks one of the rules, and why that does no harm. */
export interface Exception {
  /** Matches the text of the statement. */
  text: RegExp;
  because: string;
}

/** Statements that lock several rows in an order other than that of their keys. */
export const OUT_OF_ORDER: Exception[] = [
  {
    text: /DELETE FROM run_requests WHERE (workflow_id|job_id) = ANY/,
    because: 'all that remove requests hold the locks of their schedules, which are taken in order',
  },
  {
    text: /UPDATE workflows SET updated_at = now\(\), consecutive_job_failures_count = CASE/,
    because: 'endCounted has locked these workflows in order, by the first statement of its transaction',
  },
  {
    text: /^UPDATE schedules SET state = 'TERMINATED', next_run_at = NULL, wake_at = now\(\) WHERE workflow_id = ANY/,
    because: 'endCounted has locked these schedules in order, by the second statement of its transaction',
  },
  {
    text: /^UPDATE jobs SET status = 'QUEUED', queued_at = now\(\)/,
    because: 'reconcileSchedules has locked these jobs in order (lockChanging)',
  },
  {
    text: /^UPDATE schedules SET paused = true, paused_until = NULL, wake_at = now\(\) WHERE workflow_id = ANY/,
    because: 'endCounted has locked these schedules in order, by the second statement of its transaction',
  },
  {
    text: /^WITH (passed|paused) AS MATERIALIZED \( SELECT s\.workflow_id, .* UPDATE schedules SET/,
    because: 'reconcileSchedules has locked these schedules, by the first statement of its transaction',
  },
  {
    text: /^DELETE FROM schedules WHERE workflow_id = ANY/,
    because: 'reconcileSchedules has locked these schedules, by the first statement of its transaction',
  },
  {
    text: /^update "notifications" set "read_at"/,
    because: 'markNotificationsRead has locked these notifications in order, by the first statement of its transaction',
  },
  {
    text: /^UPDATE notifications SET read_at = now\(\) WHERE id = ANY\(ARRAY\( SELECT id FROM notifications WHERE \(user_id, id\) >=/,
    because: "one user's notifications in the order of (user_id, id) come in the order of their ids",
  },
  {
    text: /^(WITH u AS MATERIALIZED .* )?UPDATE incidents SET/,
    because: 'all that change incidents hold the locks of their workflows, which are taken in order',
  },
  {
    text: /^UPDATE alert_deliveries SET attempt|^UPDATE alert_due SET digest_id|^WITH (gone|reported) AS .* DELETE FROM alert_due/,
    because: 'the transaction holds the lock of the channel that has them all',
  },
  {
    text: /^WITH changed AS \( INSERT INTO outages .* FROM workers/,
    because: 'it waits only for others that begin outages, and all of these go by the places',
  },
  {
    text: /^delete from "workflow_alert_channels" where "workflow_alert_channels"\."channel_id"/,
    because: 'all that choose channels hold the lock of their user',
  },
  {
    text: /^UPDATE workflows SET updated_at = now\(\), has_own_alert_channels/,
    because: 'deleteAlertChannel has locked these workflows in order, by a statement before',
  },
];

/** Statements that lock tables out of the general order. */
export const TABLES_OUT_OF_ORDER: Exception[] = [
  {
    text: /^WITH locked AS MATERIALIZED \( SELECT id FROM jobs WHERE id = ANY/,
    because: 'a transaction that ends a build and then cancels requested jobs holds the lock of their workflow',
  },
  {
    text: /^WITH locked AS MATERIALIZED \( SELECT id FROM builds WHERE workflow_id = ANY/,
    because: 'the callers of cancelBuilds hold the locks of these workflows',
  },
];

/** Statements that read more rows than they are about. */
export const READS_MORE: (Exception & { rowsMax: number; blocksMax?: number; scans?: string })[] = [
  {
    text: /^SELECT substring\(payload::text FROM/,
    because: 'it runs at a start, and reads on only while the installation has recorded no key',
    rowsMax: 20_000,
    scans: 'payloads',
  },
  {
    text: /^SELECT scope_id, what, bucket, sum\(count\)::float8 AS count/,
    because: 'what is not rolled up yet belongs to anybody: rollUpTotals keeps it to what ended in the last second',
    rowsMax: 3_000,
    scans: 'totals_pending',
  },
  {
    text: /^SELECT coalesce\(max\(at\)/,
    because: 'it measures what is not rolled up yet, every two seconds, and so keeps it small',
    rowsMax: 3_000,
    scans: 'totals_pending',
  },
  {
    text: /SELECT id FROM workflows WHERE id > \$1 ORDER BY id LIMIT \$2 FOR NO KEY UPDATE|payload::text LIKE '%"sealed"%'/,
    because: 'another key goes through all secrets, in sets of 200 workflows',
    rowsMax: 200,
  },
  {
    text: /where "alert_channels"\."id" > \S+ order by "alert_channels"\."id"/,
    because: 'another key goes through all channels, in sets of 200',
    rowsMax: 200,
  },
  {
    text: /WHERE v\.delete_requested_at IS NOT NULL AND v\.id > \S+ ORDER BY v\.id LIMIT/,
    because: 'under no lock: volumes that wait for their removal, on any engine',
    rowsMax: 1_000,
  },
  {
    text: /^DELETE FROM calendars WHERE id = ANY/,
    because: 'it runs once an hour, and an index of schedules on their calendar would cost each slot',
    rowsMax: 200_000,
    blocksMax: 5_000,
    scans: 'schedules',
  },
  {
    text: /FROM schedules s LEFT JOIN LATERAL \( SELECT occurrences\[.* WHERE workflow_id > \S+ AND calendar_id IS NOT NULL/,
    because: 'it goes through all schedules in sets, at a start and when the time-zone data or the clock have changed',
    rowsMax: 20_000,
  },
  {
    text: /^WITH RECURSIVE waiting AS/,
    because: 'it looks at each channel that has something to send, by jumps in an index',
    rowsMax: 2_000,
    blocksMax: 8_000,
  },
];

/** What a statement may read from end to end. */
export const READS_WHOLE: Exception[] = [
  { text: /all of (installations|workers|workers_pkey)$/, because: 'it has a row for each worker at most' },
  {
    text: /all of (workflows_purging|users_administrators|outages_open|builds_unfinished|builds_user_unfinished)$/,
    because: 'the index has the few rows that are in this state',
  },
  {
    text: /^removeUnusedCalendars all of (schedules|calendars_pkey)$/,
    because: 'it runs once an hour, and an index of schedules on their calendar would cost each slot',
  },
  {
    text: /^areTotalsDue all of totals_pending$/,
    because: 'it runs every two seconds, and keeps the table small',
  },
  {
    text: /^someSecretOfOldVersion all of payloads$/,
    because: 'it runs at a start, until the installation has recorded its key',
  },
];

/** Functions that build a part of a statement, or open a connection. */
export const NO_STATEMENTS = new Set([
  ...[
    'array',
    'arrayText',
    'rowSet',
    'rowMapper',
    'sortedById',
    'seconds',
    'storeLastLines',
    'warmUp', // runs the statements of others
    'words',
    'DatabaseNewer', // an error
    'NoBackup', // errors
    'NoRestore',
    'BadBackup',
    'dumpDatabase', // connections of their own, for a command
    'loadDatabase',
    'backupTables',
    'quoted',
    'quotedColumns',
    'slotsUntil', // parts of statements
    'slotAhead',
    'nextPing',
    'expectedPing',
    'pushIn',
    'BackupReader',
    'rootOf',
    'eachDay', // sends the statements of others
    'eachDayOf',
    'jobsIn',
    'recentJob',
    'jobsOfPiece',
    'dayStatements',
    'boundStatement',
    'withJobDay',
    'idsIn',
    'partitionOf',
    'partitionOfDay',
    'stateOf',
    'constraintOf',
    'connect',
    'isDatabaseUp',
    'inSnapshot', // begins a transaction for statements of others
    'tryToWrite',
    'firstIdBefore',
    'newIdAfter',
    'idInSet',
    'hasEndedFor',
    'storedLines',
    'endColumns',
    'slotsUntil',
    'isPaused',
    'mutedUntil',
    'failuresInARow',
    'scheduleOf',
    'storedSchedule',
    'isSameSchedule',
    'policyColumns',
    'isBeginning',
    'buildFailed',
    'buildEffects',
    'failureEffects',
    'jobEffects',
    'notificationEffects',
    'isKept',
    'countUpTo',
    'within',
    'order',
    'where',
    'windowValues',
    'given',
    'inListOrder',
    'named',
  ],
  ...[
    'applyParts',
    'migrate',
    'readMigrations',
    'indexOf',
    'checkVersion',
    'generationKey',
    'preparedByShape',
    'connectionProblem',
    'refusalOf',
    'isOutage',
    'driverOptions',
    'sslOptions',
  ],
  ...['LimitExceeded', 'UnknownAlertChannels', 'VolumeBeingRemoved'],
]);
