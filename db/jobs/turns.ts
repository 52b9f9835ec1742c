import { type SQL, sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDayOf } from '../job-days.ts';
import type { Generation } from '../payloads.ts';

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

/** Sends a statement for the builds, or for each day of the jobs. */
function eachTable<Row>(
  db: Pick<Db, 'execute'>,
  kind: TurnKind,
  ids: string[],
  send: (table: SQL, ids: string[]) => Promise<readonly Row[]>,
): Promise<readonly Row[]> {
  return kind === 'BUILD' ? send(sql`builds AS builds`, ids) : eachDayOf(db, ids, send);
}

/**
 * The engines whose workers left a turn to others because they cannot run what it names, and until
 * when each leaves it, in seconds since 1970 by the database's clock. A worker leaves out the turns
 * that it has passed by. After that time it looks again: an image may have come to its engine.
 */
export type PassedBy = Record<string, number>;

/** What this worker knows of the turn that it looks at or has taken. */
export interface Turn {
  id: string;
  passedBy: PassedBy;
}

/**
 * Gives a turn to those of these jobs or builds that are QUEUED and have none. `passed` tells by
 * which engines, and the round that the turn had before: it keeps its place.
 */
export async function enterTurns(
  db: Db,
  kind: TurnKind,
  ids: string[],
  passed:
    | { round: string; passedBy: PassedBy; by: string; seconds: number; waitsFor?: string | undefined }
    | undefined = undefined,
): Promise<void> {
  if (ids.length === 0) return;
  await db.transaction(async (tx) => {
    // Calls take turns: two at once would give the rows of a user the same rounds.
    await tx.execute(sql`SELECT /* enterTurns */ pg_advisory_xact_lock(hashtext(${`turns of ${kind}`}))`);
    await eachTable(tx, kind, ids, (table, some) =>
      tx.execute(sql`
      WITH /* enterTurns */ entering AS (
        SELECT id, user_id, row_number() OVER (PARTITION BY user_id ORDER BY id) AS nth
        FROM (SELECT id, user_id FROM ${table} WHERE id = ANY(${array(some, 'uuid')}) AND status = 'QUEUED') queued
        WHERE (SELECT id FROM turns WHERE turns.id = queued.id) IS NULL -- for each by its key
      )
      INSERT INTO turns (id, kind, user_id, round, passed_by, waits_for)
      SELECT id, ${kind}, user_id, coalesce(${passed?.round ?? null}::bigint, nth + greatest(
        (SELECT round FROM turn_rounds WHERE kind = ${kind}) - 1,
        coalesce((SELECT max(round) FROM turns WHERE kind = ${kind} AND turns.user_id = entering.user_id), 0))),
        ${passed === undefined ? sql`NULL` : passedBy(passed)}, ${passed?.waitsFor ?? null}
      FROM entering ORDER BY id ON CONFLICT DO NOTHING`),
    );
  });
}

/**
 * The job or build whose turn is next, leaving out those of `fullUsers`. Undefined if none waits.
 */
export async function peekTurn(db: Db, kind: TurnKind, fullUsers: string[]): Promise<string | undefined> {
  const [turn] = await db.execute<{ id: string }>(sql`SELECT /* peekTurn */ id FROM turns ${nextOf(kind, fullUsers)}`);
  return turn?.id;
}

/** The turn that is next for a worker on this engine: one that the engine has not passed by. */
export async function peekTurnFor(
  db: Db,
  kind: TurnKind,
  fullUsers: string[],
  engineId: string,
): Promise<Turn | undefined> {
  const [turn] = await db.execute<{ id: string; passed_by: PassedBy | null }>(
    sql`SELECT /* peekTurnFor */ id, passed_by FROM turns ${nextOf(kind, fullUsers, engineId)}`,
  );
  return turn && { id: turn.id, passedBy: turn.passed_by ?? {} };
}

/**
 * Leaves a turn to the workers on other engines for some seconds. `waitsFor` is a sentence for the
 * owner when no worker that lives can run it.
 */
export async function passTurn(
  db: Db,
  { id }: Turn,
  { by, seconds, waitsFor }: { by: string; seconds: number; waitsFor?: string | undefined },
): Promise<void> {
  await db.execute(sql`
    UPDATE /* passTurn */ turns SET passed_by = ${passedBy({ by, seconds, passedBy: sql`coalesce(passed_by, '{}'::jsonb)` })},
      waits_for = ${waitsFor ?? null}
    WHERE id = ${id}`);
}

/** By job: what its turn waits for. Jobs whose turn is free to be taken are missing. */
export async function waitsOfTurns(db: Db, ids: string[]): Promise<Map<string, string>> {
  const rows = await db.execute<{ id: string; waits_for: string }>(sql`
    SELECT /* waitsOfTurns */ id, waits_for FROM turns WHERE id = ANY(${array(ids, 'uuid')}) AND waits_for IS NOT NULL`);
  return new Map(rows.map((row) => [row.id, row.waits_for]));
}

/** What a QUEUED job or build is of. Undefined if it no longer waits. */
export async function waitingOf(
  db: Db,
  kind: TurnKind,
  { id }: Turn,
): Promise<(Generation & { userId: string }) | undefined> {
  const [row] = await eachTable(db, kind, [id], (table) =>
    db.execute<{ workflow_id: string; user_id: string; generation: number }>(sql`
    SELECT /* waitingOf */ workflow_id, user_id, generation FROM ${table} WHERE id = ${id} AND status = 'QUEUED'`),
  );
  return row && { workflowId: row.workflow_id, userId: row.user_id, generation: row.generation };
}

/** Whether this job or build has a turn that no worker has taken. */
export async function hasTurn(db: Db, id: string): Promise<boolean> {
  const rows = await db.execute(sql`SELECT /* hasTurn */ FROM turns WHERE id = ${id}`);
  return rows.length > 0;
}

/**
 * Takes the next turn of a user outside `fullUsers` that `engineId` has not passed by, or the turn
 * `only`, and claims its job or build in the same transaction. Returns undefined if none waits.
 * `claimed` is empty if the job or build is no longer QUEUED.
 */
export async function takeTurn<Claim extends { claimed: unknown[] }>(
  db: Db,
  kind: TurnKind,
  fullUsers: string[],
  claimQueued: (tx: Db, ids: string[]) => Promise<Claim>,
  { engineId, only }: { engineId?: string | undefined; only?: string | undefined } = {},
): Promise<(Claim & { round: string; passedBy: PassedBy }) | undefined> {
  const next = only === undefined ? nextOf(kind, fullUsers, engineId) : sql`WHERE id = ${only}`;
  return db.transaction(async (tx) => {
    const [turn] = await tx.execute<{ id: string; round: string; passed_by: PassedBy | null }>(sql`
      DELETE /* takeTurn */ FROM turns WHERE id = (SELECT id FROM turns ${next} FOR UPDATE SKIP LOCKED)
      RETURNING id, round, passed_by`);
    if (turn === undefined) return undefined;
    const claim = await claimQueued(tx, [turn.id]);
    if (claim.claimed.length > 0)
      await tx.execute(
        sql`UPDATE /* takeTurn */ turn_rounds SET round = ${turn.round} WHERE kind = ${kind} AND round < ${turn.round}`, // last: others wait for this row
      );
    return { ...claim, round: turn.round, passedBy: turn.passed_by ?? {} };
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
  const looked = await db.execute<{ id: string }>(sql`
    SELECT /* sweepTurns */ id FROM turns WHERE id > ${after} ORDER BY id LIMIT ${limit}`);
  const ids = looked.map(({ id }) => id);
  const stillWaits = (table: SQL, some: string[]) =>
    db.execute<{ id: string }>(sql`
    SELECT /* sweepTurns */ id FROM ${table} WHERE id = ANY(${array(some, 'uuid')}) AND status = 'QUEUED'`);
  const waiting = new Set<string>();
  for (const kind of ['CONTAINER', 'BUILD'] as const)
    for (const { id } of await eachTable(db, kind, ids, stillWaits)) waiting.add(id);
  const leftBehind = ids.filter((id) => !waiting.has(id));
  const removed = leftBehind.length === 0 ? [] : await removeTurns(db, leftBehind);
  return { after: ids.length === limit ? ids.at(-1) : undefined, removed: removed.length };
}

/** Leaves out turns that a worker is taking. */
function removeTurns(db: Db, ids: string[]): Promise<unknown[]> {
  return db.execute(sql`
    DELETE /* removeTurns */ FROM turns WHERE id = ANY(ARRAY(
      SELECT id FROM turns WHERE id = ANY(${array(ids, 'uuid')}) ORDER BY id FOR UPDATE SKIP LOCKED)) RETURNING 1`);
}

function nextOf(kind: TurnKind, fullUsers: string[], engineId?: string | undefined): SQL {
  const isOpen =
    engineId === undefined
      ? sql``
      : sql` AND (passed_by IS NULL OR coalesce((passed_by->>${engineId})::float8, 0) <= extract(epoch FROM clock_timestamp()))`;
  return sql`WHERE kind = ${kind} AND user_id <> ALL(${array(fullUsers, 'uuid')})${isOpen} ORDER BY round, id LIMIT 1`;
}

/** `passedBy` and the engine `by`, from now on for this many seconds. */
function passedBy({ passedBy, by, seconds }: { passedBy: PassedBy | SQL; by: string; seconds: number }): SQL {
  const before = 'queryChunks' in passedBy ? sql`${passedBy}` : sql`${JSON.stringify(passedBy)}::jsonb`;
  return sql`${before} || jsonb_build_object(${by}::text, extract(epoch FROM clock_timestamp()) + ${seconds}::float8)`;
}
