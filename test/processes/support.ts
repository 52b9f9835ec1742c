import { type Running, startProcess } from '../support/processes.ts';

/** Settings of a machine on which no Docker engine answers. */
export const WITHOUT_ENGINE = { DOCKER_HOST: 'unix:///nowhere/docker.sock' };

/** Starts `chronoverse demo ARGS` on a free port. */
export function demo(args: string[], env: Record<string, string>): Running {
  return startProcess(['demo', ...args], { PORT: '0', ...env });
}
