import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jobs, workflows } from '../../db/schema.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { createEngine } from '../../platform/docker/engine.ts';
import { createUserNetworks, networkOf } from '../../workers/workflow/engine/networks.ts';
import { testUser } from '../support/database.ts';
import { type FirewalledEngine, firewalledEngine } from '../support/servers.ts';
import { letPass, until } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { type Installation, openInstallation, storedTexts } from './support.ts';

/** Room for four networks, one of which is the engine's own bridge. */
const POOL = ['--default-address-pool', 'base=10.77.0.0/24,size=26'];

const engine = await firewalledEngine('that users and their containers do not reach each other', POOL);
describe.skipIf(engine === undefined)('on an engine that separates networks', () => {
  let own: FirewalledEngine;
  let here: Installation;
  const users: string[] = [];
  beforeAll(async () => {
    if (engine === undefined) return;
    own = engine;
    await own.start();
    here = await openInstallation(own.address);
    await here.start();
    for (const name of ['bob', 'carl', 'dave']) users.push(await testUser(here.database.db, name));
  });
  afterAll(async () => {
    await here?.close();
    expect(await networks()).toEqual([]);
    await own?.close();
  });

  const networks = () => here.docker.listNetworks({ 'chronoverse.installation': here.installation });
  const shell = (script: string) => ({ command: ['sh', '-c'], args: [script] });
  const LISTEN = 'hostname -i; echo hello > /tmp/hello; httpd -f -p 8080 -h /tmp';
  const userOf = async (id: string) => {
    const [row] = await here.database.db.select().from(workflows).where(eq(workflows.id, id));
    return row?.userId ?? '';
  };
  const end = async (id: string) => {
    for (const container of await here.docker.listContainers({ 'chronoverse.workflow': id }))
      await here.docker.stopContainer(container.id, 0);
    return here.job(id, 'FAILED');
  };

  test('no container reaches one of another user, and no two containers of one user reach each other', async () => {
    const { id } = await here.create(shell(LISTEN));
    const { id: jobId } = await here.job(id, 'RUNNING');
    const [address = ''] = await until('it listens', async () => {
      const texts = await storedTexts(here.database.db, jobId);
      return texts.length > 0 ? texts : undefined;
    });
    expect(address).toMatch(/^10\.77\.0\.\d+$/);
    // The engine's host can reach it.
    await until('it answers', async () => {
      const script = `fetch('http://${address}:8080/hello').then((answer) => process.exit(answer.ok ? 0 : 1))`;
      return own.inside(process.execPath, '-e', script).then(
        () => true,
        () => false,
      );
    });
    const reach = shell(`nc -w 2 ${address} 8080 < /dev/null > /dev/null 2>&1 && echo reached || echo nothing`);
    for (const user of [users[0], undefined]) {
      const other = await here.create(reach, 3, user);
      const job = await here.job(other.id, 'COMPLETED');
      expect(await storedTexts(here.database.db, job.id)).toEqual(['nothing']);
    }
    expect((await networks()).length).toBe(2);
    await end(id);
  });

  test('a network that is gone when a container starts is created again', async () => {
    const { id } = await here.create(shell('echo once'));
    await here.job(id, 'COMPLETED');
    const name = networkOf(here.installation, await userOf(id)).name;
    // The worker believes that the network still exists.
    await until('it is unused', () => here.docker.removeNetwork(name));
    const again = await here.create(shell('ip route | head -1'));
    const job = await here.job(again.id, 'COMPLETED');
    expect(job).toMatchObject({ attempt: 1, failureReason: null });
    expect(await storedTexts(here.database.db, job.id)).toEqual([expect.stringMatching(/^default via 10\.77\./)]);
  });

  test('networks without containers are removed, and those in use are not', async () => {
    const { id } = await here.create(shell('sleep 60'), 3, users[1]);
    await here.job(id, 'RUNNING');
    await until('its container runs', async () => (await here.containers()).length === 1);
    const { docker, installation } = here;
    const other = createUserNetworks({ docker, installation, log: quiet, idleMs: 0 });
    await until('the others are gone', async () => {
      await other.sweep();
      const left = await networks();
      return left.length === 1 && left[0]?.name === networkOf(installation, users[1] ?? '').name;
    });
    await end(id);
  });

  test('a reserved network without containers is not given to another user', async () => {
    const { docker, installation } = here;
    const own = createUserNetworks({ docker, installation, log: quiet, idleMs: 0 });
    await until('no network is left', async () => {
      await own.sweep();
      return (await networks()).length === 0;
    });
    const three = ['held-1', 'held-2', 'held-3'];
    const holding = ([name, ...others]: string[], run: () => Promise<unknown>): Promise<unknown> =>
      name === undefined
        ? run()
        : own.hold(name, async () => {
            await own.ensure(name);
            await holding(others, run);
          });
    await holding(three, () => expect(own.ensure('fourth')).rejects.toMatchObject({ kind: 'BUSY' }));
    await holding(three.slice(1), () => own.ensure('fourth'));
    await own.close();
  });

  test('without addresses for another network a job waits by its attempts, and the workflow is not blamed', async () => {
    const busy = await Promise.all(users.map((user) => here.create(shell('sleep 100'), 3, user)));
    // A job is RUNNING from its claim on, but its network comes with its container.
    await until('every address is taken', async () => (await here.containers()).length === busy.length);
    const { db } = here.database;
    const { id } = await here.create(shell('echo at last'), 1);
    await until('an attempt was refused', async () => {
      const [row] = await db.select().from(jobs).where(eq(jobs.workflowId, id));
      return row?.status === 'PENDING' && row.attempt === 1;
    });
    await end(busy[0]?.id ?? '');
    await letPass(db, id, 60);
    await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
    const job = await here.job(id, 'COMPLETED');
    expect(await storedTexts(db, job.id)).toEqual(['at last']);
    for (const one of busy.slice(1)) await end(one.id);
  });

  test('the interface of a network has a name that a firewall can match, and two workers create one network', async () => {
    const { docker, installation } = here;
    const two = [1, 2].map(() => createUserNetworks({ docker, installation, log: quiet }));
    const user = users[2] ?? '';
    await Promise.all(two.map((worker) => worker.ensure(user, { anew: true })));
    const { name, bridge } = networkOf(installation, user);
    expect((await networks()).filter((network) => network.name === name)).toHaveLength(1);
    expect(bridge).toMatch(/^cvn-.{11}$/);
    expect(await own.inside('ip', '-brief', 'link')).toContain(bridge);
    const inspected = await createEngine({ host: own.address }).call({ method: 'GET', path: `/networks/${name}` });
    expect(inspected).toMatchObject({ Options: { 'com.docker.network.bridge.enable_icc': 'false' } });
    await docker.removeNetwork(name);
  });
});
