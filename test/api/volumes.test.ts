import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  forgetCopies,
  noteFoundVolumes,
  noteVolumeUse,
  placeVolumes,
  unwantedVolumes,
  volumesRemoved,
} from '../../db/volumes.ts';
import { NO_ID, newId } from '../../domain/ids.ts';
import { createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

const UPDATE = `mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) {
  workflow { id generation } userErrors { code path message } } }`;
const END = 'mutation ($id: ID!) { terminateWorkflow(input: { id: $id }) { userErrors { code } } }';
const LIST =
  '{ volumes(first: 10) { nodes { name sizeBytes lastUsedAt createdAt workflows { id } } pageInfo { hasNextPage } } }';
const DELETE = `mutation ($name: String!) { deleteVolume(input: { name: $name }) {
  deletedVolumeName userErrors { code path message } } }`;

describe('the volumes of a user', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  beforeAll(async () => {
    api = await testApi({ userLimits: { VOLUMES_PER_USER: 4 } });
    ann = await person(api, 'ann');
    bob = await person(api, 'bob');
  });
  afterAll(() => api.close());

  const container = (...names: string[]) => ({
    container: { image: 'alpine:3', volumes: names.map((name) => ({ name, path: `/${name}` })) },
  });
  const create = (names: string[], who = ann) => createWorkflow(api, who, { payload: container(...names) });
  const update = async (id: string, names: string[]) => {
    const variables = { input: { id, payload: container(...names) } };
    return (await query(api, UPDATE, { token: ann.token, variables })).data.updateWorkflow;
  };
  const end = (id: string) => query(api, END, { token: ann.token, variables: { id } });
  const list = async (who = ann) => (await query(api, LIST, { token: who.token })).data.volumes.nodes;
  const remove = async (name: string, who = ann) =>
    (await query(api, DELETE, { token: who.token, variables: { name } })).data.deleteVolume;
  const names = async (who = ann) => (await list(who)).map(({ name }: { name: string }) => name).sort();

  test('P6: are listed with the workflows that name them, only to their owner', async () => {
    const { workflow } = await create(['data', 'more']);
    const other = await create(['data']);
    expect(await names()).toEqual(['data', 'more']);
    const data = (await list()).find(({ name }: { name: string }) => name === 'data');
    expect(data).toMatchObject({
      sizeBytes: null,
      lastUsedAt: null,
      workflows: [{ id: other.workflow.id }, { id: workflow.id }],
    });
    expect(await list(bob)).toEqual([]);
    expect(await remove('data', bob)).toMatchObject({ deletedVolumeName: null, userErrors: [{ code: 'NOT_FOUND' }] });
    await create(['data'], bob);
    expect((await list(bob))[0].workflows).toHaveLength(1);
    await end(other.workflow.id);
    await end(workflow.id);
    expect((await list()).map(({ workflows }: { workflows: object[] }) => workflows.length)).toEqual([0, 0]);
  });

  test('are refused beyond the limit, which the message names, all or none of them', async () => {
    const { userErrors } = await create(['a', 'b', 'c']);
    expect(userErrors).toEqual([
      { code: 'LIMIT_EXCEEDED', path: ['payload'], message: expect.stringMatching(/4 volumes.*VOLUMES_PER_USER/) },
    ]);
    expect(await names()).toEqual(['data', 'more']);
    const { workflow } = await create(['a', 'b']);
    expect((await update(workflow.id, ['a', 'c'])).userErrors).toMatchObject([{ code: 'LIMIT_EXCEEDED' }]);
    expect((await update(workflow.id, ['a', 'data'])).userErrors).toEqual([]);
    // Many at once do not exceed the limit.
    expect(await remove('more')).toEqual({ deletedVolumeName: 'more', userErrors: [] });
    const made = await Promise.all(['n1', 'n2', 'n3', 'n4'].map((name) => create([name])));
    expect(made.filter(({ userErrors }) => userErrors.length === 0)).toHaveLength(1);
    expect(await list()).toHaveLength(4);
    for (const { workflow } of made) if (workflow) await end(workflow.id);
    await end(workflow.id);
    for (const name of await names()) expect(await remove(name)).toMatchObject({ userErrors: [] });
  });

  test('are not deleted while a workflow names them, or while a job of an ended workflow runs', async () => {
    const { workflow } = await create(['kept']);
    expect(await remove('kept')).toEqual({
      deletedVolumeName: null,
      userErrors: [{ code: 'CONFLICT', path: ['name'], message: expect.stringContaining(workflow.id) }],
    });
    // A job of the generation that named the volume still runs.
    await api.db.execute(sql`
      WITH job AS (INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at)
        SELECT ${newId()}, id, user_id, kind, 'AUTOMATIC', 'PENDING', 1, now() FROM workflows WHERE id = ${workflow.id}
        RETURNING id)
      INSERT INTO schedules (workflow_id, user_id, kind, state, generation, interval_minutes, last_job_id, next_run_at, wake_at)
        SELECT workflows.id, user_id, kind, 'READY', 1, 1, job.id, now(), now() FROM workflows, job WHERE workflows.id = ${workflow.id}`);
    expect((await update(workflow.id, ['next'])).userErrors).toEqual([]);
    expect(await remove('kept')).toMatchObject({ userErrors: [{ code: 'CONFLICT' }] });
    expect(await remove('next')).toMatchObject({ userErrors: [{ code: 'CONFLICT' }] });
    await end(workflow.id); // cancels the job
    for (const name of ['kept', 'next']) expect(await remove(name)).toMatchObject({ deletedVolumeName: name });
    expect(await remove('kept')).toMatchObject({ userErrors: [{ code: 'NOT_FOUND' }] });
  });

  test('disappear from the list at once, and their name is free once no engine has them', async () => {
    const { db } = api;
    const { workflow } = await create(['old']);
    const use = { userId: ann.id, names: ['old'] };
    expect(await noteVolumeUse(db, { ...use, engineId: 'one' })).toEqual([]);
    await noteVolumeUse(db, { ...use, engineId: 'two' });
    await noteFoundVolumes(db, 'one', [{ userId: ann.id, name: 'old', sizeBytes: 3_000_000_000 }]);
    await noteFoundVolumes(db, 'two', [{ userId: ann.id, name: 'old', sizeBytes: 5 }]);
    expect(await list()).toMatchObject([{ name: 'old', sizeBytes: 3_000_000_005, lastUsedAt: expect.any(String) }]);
    await end(workflow.id);
    expect(await remove('old')).toMatchObject({ userErrors: [] });
    expect(await remove('old')).toMatchObject({ userErrors: [] }); // a second call changes nothing
    expect(await list()).toEqual([]);
    // No job may mount the volume any more.
    expect(await noteVolumeUse(db, { ...use, engineId: 'three' })).toEqual(['old']);
    expect(await create(['old'])).toMatchObject({
      workflow: null,
      userErrors: [{ code: 'CONFLICT', path: ['payload'], message: expect.stringContaining('old') }],
    });
    for (const engineId of ['one', 'two']) {
      const unwanted = await unwantedVolumes(db, engineId, { after: NO_ID, limit: 10 });
      expect(unwanted).toMatchObject([{ userId: ann.id, name: 'old' }]);
      await volumesRemoved(
        db,
        engineId,
        unwanted.map(({ id }) => id),
      );
    }
    expect((await create(['old'])).userErrors).toEqual([]);
  });

  test('of two engines that would make the same new one, the first has it; data on another engine is never mounted', async () => {
    const { db } = api;
    const { workflow } = await create(['shared']);
    const place = (engineId: string) => placeVolumes(db, { userId: ann.id, names: ['shared'], engineId });
    const placed = await Promise.all(['left', 'right one'].map(place));
    const [first] = placed.flatMap(({ places }, n) => (places.length === 0 ? [['left', 'right one'][n]] : []));
    expect(placed).toContainEqual({ places: [], deleted: [] });
    const at = (engines: (string | undefined)[], isDistant: boolean) => [{ name: 'shared', engines, isDistant }];
    expect(placed).toContainEqual({ places: at([first], true), deleted: [] });
    expect(await place(first ?? '')).toEqual({ places: at([first], false), deleted: [] });
    // Older versions stored the first word of an engine's name.
    await db.execute(sql`UPDATE volume_copies SET engine_id = 'right' WHERE engine_id = ${first}`);
    expect(await place('right one')).toEqual({ places: at(['right one'], false), deleted: [] });
    await forgetCopies(db, 'right', [{ userId: ann.id, name: 'shared' }]);
    expect((await place('left')).places).toEqual(at(['right one'], true));
    await db.execute(sql`DELETE FROM volume_copies WHERE engine_id = 'right one'`);
    await end(workflow.id);
    await remove('shared');
    expect(await place('left')).toEqual({ places: [], deleted: ['shared'] });
  });

  test('that already exist on an engine are noted, and those that an operator removed there are forgotten', async () => {
    const { db } = api;
    await noteFoundVolumes(db, 'three', [
      { userId: bob.id, name: 'found', sizeBytes: null },
      { userId: '01890000-0000-7000-8000-000000000000', name: 'of nobody', sizeBytes: 1 },
    ]);
    expect(await names(bob)).toEqual(['data', 'found']);
    await noteFoundVolumes(db, 'three', []);
    expect(await db.execute(sql`SELECT FROM volume_copies WHERE engine_id = 'three'`)).toHaveLength(0);
    expect(await remove('found', bob)).toMatchObject({ deletedVolumeName: 'found', userErrors: [] });
    expect(await names(bob)).toEqual(['data']);
  });
});
