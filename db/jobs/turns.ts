import { sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';

/**
 * Turns decide which CONTAINER job or build comes next when there are few slots, across all
 * workers. Like an event, a turn is a hint: its row names a job or build that was QUEUED when the
 * event came. A worker that takes the turn claims that row, which may have ended meanwhile. A lost
 * turn comes again with the event that the scheduling worker sends again.
 *
 * Turns are numbered by round. A user's first waiting row goes into the round in progress, the
 * user's next one into the round after it, and so on. So a user with one row waits for at most one
 * round, however many rows another user has queued. The round in progress is stored: it is the
 * highest round of which a row was claimed. Turns that are skipped because their user is full do
 * not hold it back.
 */
export type TurnKind = 'CONTAINER' | 'BUILD';

const TABLES = { CONTAINER: sql`jobs`, BUILD: sql`builds` };

/** Gives a turn to those of these jobs or builds that are QUEUED and have none. */
export async function enterTurns(db: Db, kind: TurnKind, ids: string[]): Promise<void> {
  if (ids.length === 0) return;
  await db.transaction(async (tx) => {
    // Calls take turns: two at once would give the rows of a user the same rounds.
    await tx.execute(sql`SELECT /* enterTurns */ pg_advisory_xact_lock(hashtext(${`turns of ${kind}`}))`);
    await tx.execute(sql`
      WITH /* enterTurns */ entering AS (
        SELECT id, user_id, row_number() OVER (PARTITION BY user_id ORDER BY id) AS nth FROM ${TABLES[kind]} queued
        WHERE id = ANY(${array(ids, 'uuid')}) AND status = 'QUEUED'
          AND NOT EXISTS (SELECT FROM turns WHERE turns.id = queued.id)
      )
      INSERT INTO turns (id, kind, user_id, round)
      SELECT id, ${kind}, user_id, nth + greatest(
        (SELECT round FROM turn_rounds WHERE kind = ${kind}) - 1,
        coalesce((SELECT max(round) FROM turns WHERE kind = ${kind} AND turns.user_id = entering.user_id), 0))
      FROM entering ON CONFLICT DO NOTHING`);
  });
}

/**
 * The job or build whose turn is next, leaving out those of `fullUsers`. Undefined if none waits.
 */
export async function peekTurn(db: Db, kind: TurnKind, fullUsers: string[]): Promise<string | undefined> {
  const [turn] = await db.execute<{ id: string }>(sql`SELECT /* peekTurn */ ${nextTurn(kind, fullUsers)}`);
  return turn?.id;
}

/** Whether this job or build has a turn that no worker has taken. */
export async function hasTurn(db: Db, id: string): Promise<boolean> {
  const rows = await db.execute(sql`SELECT /* hasTurn */ FROM turns WHERE id = ${id}`);
  return rows.length > 0;
}

/**
 * Takes the next turn of a user outside `fullUsers` and claims its job or build in the same
 * transaction. Returns undefined if none waits. `claimed` is empty if the job or build is no longer
 * QUEUED.
 */
export async function takeTurn<Claim extends { claimed: unknown[] }>(
  db: Db,
  kind: TurnKind,
  fullUsers: string[],
  claimQueued: (tx: Db, ids: string[]) => Promise<Claim>,
): Promise<Claim | undefined> {
  return db.transaction(async (tx) => {
    const [turn] = await tx.execute<{ id: string; round: string }>(sql`
      DELETE /* takeTurn */ FROM turns WHERE id = (SELECT ${nextTurn(kind, fullUsers)} FOR UPDATE SKIP LOCKED) RETURNING id, round`);
    if (turn === undefined) return undefined;
    const claim = await claimQueued(tx, [turn.id]);
    if (claim.claimed.length > 0)
      await tx.execute(
        sql`UPDATE /* takeTurn */ turn_rounds SET round = ${turn.round} WHERE kind = ${kind} AND round < ${turn.round}`, // last: others wait for this row
      );
    return claim;
  });
}

/**
 * Checks `limit` turns behind the turn `after`, and removes those whose job or build no longer
 * waits. Resolves with where to continue, undefined at the end. A worker that takes such a turn
 * removes it too, but no worker takes a turn of a user who is full. Without this sweep, jobs that
 * are requested and canceled again and again would fill the table.
 */
export async function sweepTurns(
  db: Db,
  { after, limit }: { after: string; limit: number },
): Promise<{ after: string | undefined; removed: number }> {
  const [row] = await db.execute<{ looked: number; last: string | null; removed: number }>(sql`
    WITH /* sweepTurns */ looked AS MATERIALIZED (
      SELECT id FROM turns WHERE id > ${after} ORDER BY id LIMIT ${limit}
    ), left_behind AS MATERIALIZED (
      SELECT looked.id FROM looked, LATERAL (
        SELECT FROM turns WHERE turns.id = looked.id
          AND NOT EXISTS (SELECT FROM jobs WHERE jobs.id = turns.id AND status = 'QUEUED' OFFSET 0)
          AND NOT EXISTS (SELECT FROM builds WHERE builds.id = turns.id AND status = 'QUEUED' OFFSET 0)
        LIMIT 1 FOR UPDATE SKIP LOCKED) turn
    ), removed AS (
      DELETE FROM turns WHERE id = ANY(ARRAY(SELECT id FROM left_behind)) RETURNING 1
    )
    SELECT count(*)::integer AS looked, (SELECT id FROM looked ORDER BY id DESC LIMIT 1) AS last,
      (SELECT count(*) FROM removed)::integer AS removed FROM looked`);
  return { after: row?.looked === limit ? (row.last ?? undefined) : undefined, removed: row?.removed ?? 0 };
}

function nextTurn(kind: TurnKind, fullUsers: string[]) {
  return sql`id FROM turns WHERE kind = ${kind} AND user_id <> ALL(${array(fullUsers, 'uuid')})
    ORDER BY round, id LIMIT 1`;
}
