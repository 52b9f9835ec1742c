import { sql } from 'drizzle-orm';
import type { Payload } from '../../domain/payload/payload.ts';
import { pingTokenPlace } from '../../domain/payload/secret.ts';
import { changeSealed } from '../../domain/payload/secrets.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';

const WORKFLOWS_PER_SET = 200;

/**
 * Passes every sealed secret of every generation and every token of a ping URL through `change` and
 * stores those that change. Each transaction locks the rows of a set of workflows. A concurrent
 * update, which may copy a secret into a new generation, comes before or after that transaction, so
 * no secret is left out. An unchanged secret causes no write.
 */
export async function changeSecrets(db: Db, change: (sealed: string, place: string) => string): Promise<void> {
  let after = '00000000-0000-0000-0000-000000000000';
  for (;;) {
    const last = await db.transaction(async (tx) => {
      const locked = await tx.execute<{ id: string }>(sql`
        SELECT /* changeSecrets */ id FROM workflows WHERE id > ${after} ORDER BY id LIMIT ${WORKFLOWS_PER_SET} FOR NO KEY UPDATE`);
      const ids = locked.map(({ id }) => id);
      if (ids.length === 0) return undefined;
      const rows = await tx.execute<{ workflow_id: string; generation: number; payload: Payload }>(sql`
        SELECT /* changeSecrets */ workflow_id, generation, payload FROM payloads
        WHERE workflow_id = ANY(${array(ids, 'uuid')}) AND payload::text LIKE '%"sealed"%'`);
      for (const { workflow_id: id, generation, payload } of rows) {
        const changed = JSON.stringify(changeSealed(id, payload, change));
        if (changed === JSON.stringify(payload)) continue;
        await tx.execute(sql`
          UPDATE /* changeSecrets */ payloads SET payload = ${changed}::jsonb WHERE workflow_id = ${id} AND generation = ${generation}`);
      }
      const tokens = await tx.execute<{ workflow_id: string; token: string }>(sql`
        SELECT /* changeSecrets */ workflow_id, token FROM pings WHERE workflow_id = ANY(${array(ids, 'uuid')})`);
      for (const { workflow_id: id, token } of tokens) {
        const changed = change(token, pingTokenPlace(id));
        if (changed === token) continue;
        await tx.execute(sql`UPDATE /* changeSecrets */ pings SET token = ${changed} WHERE workflow_id = ${id}`);
      }
      return ids.at(-1);
    });
    if (last === undefined) return;
    after = last;
  }
}
