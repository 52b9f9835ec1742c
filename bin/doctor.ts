import { createDocker } from '../platform/docker/docker.ts';
import type { CommandContext } from './context.ts';
import { engineFindings } from './doctor/engine.ts';
import type { Finding } from './doctor/finding.ts';
import { settingsFindings } from './doctor/settings.ts';

const MARKS = { FINE: 'fine   ', UNSAFE: 'UNSAFE ', UNKNOWN: 'unknown' };

/**
 * `chronoverse doctor`: prints which settings are unsafe, and what a container on this engine
 * reaches. Then it ends, with 1 if something is unsafe. It talks only to the engine. Its containers
 * try which of the other parts they reach.
 */
export async function runDoctor({ settings, log, shutdown }: CommandContext): Promise<number> {
  const findings = settingsFindings(settings);
  for (const finding of findings) print(finding);
  const docker = createDocker({ host: settings.dockerHost, tls: settings.dockerTls, log });
  for await (const finding of engineFindings(docker, { settings, shutdown, log })) {
    findings.push(finding);
    print(finding);
  }
  const unsafe = findings.filter(({ state }) => state === 'UNSAFE').length;
  process.stdout.write(
    unsafe === 0 ? '\nNothing unsafe was found.\n' : `\n${unsafe} unsafe: see docs/operate/confinement.md.\n`,
  );
  return unsafe === 0 ? 0 : 1;
}

function print({ state, text }: Finding): void {
  process.stdout.write(`${MARKS[state]} ${text}\n`);
}
