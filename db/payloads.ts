import { sql } from 'drizzle-orm';
import type { Payload } from '../domain/payload.ts';
import { array } from './arrays.ts';
import type { Db } from './client.ts';

export interface Generation {
  workflowId: string;
  generation: number;
}

export type GenerationKey = `${string}:${number}`;

export function generationKey({ workflowId, generation }: Generation): GenerationKey {
  return `${workflowId}:${generation}`;
}

/** What these generations run, with the image that their build has pinned. Generations that are gone are missing. */
export async function loadPayloads(
  db: Db,
  generations: Generation[],
): Promise<
  Map<GenerationKey, { workflowId: string; payload: Payload; imageId: string | null; imageDigest: string | null }>
> {
  if (generations.length === 0) return new Map();
  const rows = await db.execute<{
    workflow_id: string;
    generation: number;
    payload: Payload;
    image_id: string | null;
    image_digest: string | null;
  }>(sql`
    SELECT p.workflow_id, p.generation, p.payload, b.image_id, b.image_digest
    FROM unnest(
      ${array(
        generations.map(({ workflowId }) => workflowId),
        'uuid',
      )},
      ${array(
        generations.map(({ generation }) => generation),
        'integer',
      )}
    ) AS u (workflow_id, generation)
      JOIN payloads p ON p.workflow_id = u.workflow_id AND p.generation = u.generation
      LEFT JOIN builds b ON b.workflow_id = u.workflow_id AND b.generation = u.generation`);
  return new Map(
    rows.map((row) => [
      generationKey({ workflowId: row.workflow_id, generation: row.generation }),
      { workflowId: row.workflow_id, payload: row.payload, imageId: row.image_id, imageDigest: row.image_digest },
    ]),
  );
}
