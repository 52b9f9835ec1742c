/*
 * node while-blocked.js MS CONTAINER... < ARCHIVE
 *
 * A test that runs this synchronously stands still from before these containers go on until MS
 * milliseconds after they have ended. JavaScript, because Node 20 runs it as it is.
 */
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import Docker from 'dockerode';

const [ms, ...ids] = process.argv.slice(2);
const archive = readFileSync(0);
const docker = new Docker(); // of DOCKER_HOST
await Promise.all(
  ids.map(async (id) => {
    const container = docker.getContainer(id);
    await container.putArchive(archive, { path: '/' });
    await container.wait();
    const { State } = await container.inspect();
    await setTimeout(Date.parse(State.FinishedAt) + Number(ms) - Date.now());
  }),
);
