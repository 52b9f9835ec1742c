import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runWorkflow } from '../../db/jobs/request.ts';
import { workflows } from '../../db/schema.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import type { GivenPayload } from '../../domain/payload/payload.ts';
import type { GivenSecret } from '../../domain/payload/secret.ts';
import { sealPayload } from '../../domain/payload/secrets.ts';
import { createSealer } from '../../platform/sealer.ts';
import { createTemplates } from '../../workers/workflow/builds/template.ts';
import { requirePart } from '../support/parts.ts';
import { testSealer } from '../support/workers.ts';
import { IMAGE, type Installation, openInstallation, storedTexts } from './support.ts';

const SECRET = 'open-sesame-4711';
const host = requirePart('docker', 'secrets of containers');

describe.skipIf(host === undefined)('a secret of a container', () => {
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
    await here.start();
  });
  afterAll(() => here?.close());

  const secret = { KEY: { secret: true as const, value: SECRET } };
  const print = (script: string, env: Record<string, GivenSecret> = secret): GivenPayload => ({
    kind: 'CONTAINER',
    image: IMAGE,
    command: ['sh', '-c'],
    args: [script],
    env: { ...env, OPEN: 'open' },
  });

  async function ownerOf(id: string): Promise<string> {
    const [row] = await here.database.db.select().from(workflows).where(eq(workflows.id, id));
    return row?.userId ?? '';
  }

  async function create(given: GivenPayload) {
    const id = newId();
    const { value } = sealPayload(testSealer, { workflowId: id, given });
    if (value?.kind !== 'CONTAINER') throw new Error('It was refused.');
    return here.create({ ...value, id });
  }

  test('P8: reaches the program, and is masked if the job prints it', async () => {
    const script = 'echo "$KEY"; echo "a $KEY b $OPEN" >&2; printf %s "$KEY" | wc -c; exit 3';
    const { id } = await create(print(script));
    const job = await here.job(id, 'FAILED');
    expect((await storedTexts(here.database.db, job.id)).sort()).toEqual([
      '***',
      String(SECRET.length),
      'a *** b open',
    ]);
    expect(JSON.stringify(job)).not.toContain(SECRET);
  });

  test('is masked in a line longer than the frames and pieces of the log', async () => {
    const { id } = await create(print('head -c 65530 /dev/zero | tr "\\0" x; echo "$KEY end"'));
    const job = await here.job(id, 'COMPLETED');
    const texts = await storedTexts(here.database.db, job.id);
    expect(texts.map((text) => text.replace(/^x+/, 'x'))).toEqual(['x***', '*** end']);
  });

  test("P8: is masked in output of the image's shell", async () => {
    const KEY = { secret: true as const, value: `'alpha'bravo''charlie"delta$echo\\foxtrot golf#é` };
    const script = 'set -x; : "$KEY"; set +x; env; export -p; set; alias z="$KEY"; alias';
    const { id } = await create(print(script, { KEY }));
    const texts = await storedTexts(here.database.db, (await here.job(id, 'COMPLETED')).id);
    expect(texts.filter((text) => text.includes('***')).length).toBeGreaterThanOrEqual(5);
    expect(texts.join('\n')).not.toMatch(/alpha|bravo|charlie|delta|foxtrot|golf/);
  });

  test('P8: is sealed in the cached template', async () => {
    const { id } = await create(print('echo "$KEY"'));
    await here.job(id, 'COMPLETED');
    const cached = await here.parts.cache.get(`template:${id}:1`);
    expect(cached).toContain('"sealed":"s1.');
    expect(cached).not.toContain(SECRET);
  });

  test('P8: is not given to a program that an attacker wrote into the cache: the template is made again from the database', async () => {
    const { id } = await create(print('echo "right"'));
    await here.job(id, 'COMPLETED');
    const other = await create(print('echo "of another"'));
    await here.job(other.id, 'COMPLETED');
    const key = `template:${id}:1`;
    const cached = JSON.parse((await here.parts.cache.get(key)) ?? '{}');
    const { mac: _, ...unsigned } = cached;
    const payload = { ...cached.payload, args: ['echo "$KEY" | rev'] };
    const foreign = await here.parts.cache.get(`template:${other.id}:1`);
    const written = [
      { ...cached, payload },
      { ...unsigned, payload },
      { ...cached, pinned: { ...cached.pinned, imageId: 'sha256:0' } },
      JSON.parse(foreign ?? '{}'),
    ];
    for (const [n, template] of written.entries()) {
      await here.parts.cache.set(key, JSON.stringify(template), 60);
      await runWorkflow(here.database.db, { id, userId: await ownerOf(id) });
      await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
      const job = await here.job(id, 'COMPLETED', n + 1);
      expect(await storedTexts(here.database.db, job.id)).toEqual(['right']);
    }
    expect(JSON.parse((await here.parts.cache.get(key)) ?? '{}')).toEqual(cached);
  });

  test('does not open for another workflow: the job fails as a fault of the platform', async () => {
    const donor = await create(print('true'));
    const thief = await here.create({ command: ['env'] });
    await here.job(thief.id, 'COMPLETED');
    await here.database.db.execute(sql`
      UPDATE payloads SET payload = (SELECT payload FROM payloads WHERE workflow_id = ${donor.id}) WHERE workflow_id = ${thief.id}`);
    await here.parts.cache.delete(`template:${thief.id}:1`);
    await expect(createTemplates(here.parts).load({ workflowId: thief.id, generation: 1 })).rejects.toThrow(
      'it was changed, or moved from another place',
    );
  });

  test('under a key that the worker lacks makes the job fail with SYSTEM, and names the secret', async () => {
    const id = newId();
    const other = createSealer(Buffer.alloc(32, 1));
    const { value } = sealPayload(other, { workflowId: id, given: print('env') });
    if (value?.kind !== 'CONTAINER') throw new Error('It was refused.');
    await here.create({ ...value, id });
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ failureReason: 'SYSTEM', failureMessage: expect.stringContaining('SECRET_KEYS_OLD') });
  });

  test('that was cached under a key rotated away since is read from the database again', async () => {
    const { id } = await create(print('true'));
    await here.job(id, 'COMPLETED');
    const old = createSealer(Buffer.alloc(32, 2));
    const key = `template:${id}:1`;
    const cached = JSON.parse((await here.parts.cache.get(key)) ?? '{}');
    cached.payload.env.KEY.sealed = old.seal(SECRET, `${id}\nenv\nKEY`);
    await here.parts.cache.set(key, JSON.stringify(cached), 60);
    const template = await createTemplates(here.parts).load({ workflowId: id, generation: 1 });
    expect(template?.env?.KEY).toBe(SECRET);
  });
});
