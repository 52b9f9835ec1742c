import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runWorkflow } from '../../db/jobs/request.ts';
import { requirePart } from '../support/parts.ts';
import { IMAGE, type Installation, openInstallation } from './support.ts';

const host = requirePart('docker', 'jobs whose image is gone from the engine');
describe.skipIf(host === undefined)('a job whose image was made by hand and is gone', () => {
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
    await here.start();
  });
  afterAll(() => here.close());

  const engine = new Docker({ socketPath: host?.slice('unix://'.length) });
  const name = `gone-${process.pid}`;

  /** Makes an image as `docker commit` does. Returns its id. */
  async function makeImage(text: string): Promise<string> {
    const container = await engine.createContainer({ Image: IMAGE, Cmd: ['true'], Labels: { text } });
    const { Id } = await container.commit({ repo: name, tag: '1' });
    await container.remove();
    return Id;
  }

  test('fails in its first attempt, though another image has the name now, and names the way out', async () => {
    const old = await makeImage('old');
    const payload = { command: ['true'], image: `${name}:1`, network: 'NONE' as const };
    const { id } = await here.create(payload);
    const { userId } = await here.job(id, 'COMPLETED');
    await makeImage('new');
    await engine.getImage(old).remove({ force: true });
    await runWorkflow(here.database.db, { userId, id });
    const job = await here.job(id, 'FAILED', 1);
    await engine.getImage(`${name}:1`).remove({ force: true });
    expect(job).toMatchObject({ attempt: 1, uncountedAttempts: 0, failureReason: 'SYSTEM' });
    expect(job.failureMessage).toContain(`The image ${old} that the build found as ${name}:1 is on no Docker engine`);
    expect(job.failureMessage).toContain('rebuildWorkflow');
  });
});
