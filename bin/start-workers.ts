import type { Worker } from '../workers/shared/parts.ts';
import { WORKERS, type WorkerName } from './command-line.ts';
import type { CommandContext } from './context.ts';
import type { OpenParts } from './open-parts.ts';
import { progress } from './progress.ts';

/** They are started from the end of the path, and closed from its beginning: whoever stores the lines stays until the last is made. */
const ORDER: WorkerName[] = ['joblogs', 'execution', 'workflow', 'scheduling'];

export async function startWorkers(context: CommandContext, parts: OpenParts, names: readonly WorkerName[] = WORKERS) {
  for (const name of ORDER.filter((worker) => names.includes(worker))) {
    const done = progress(context.log, `worker ${name}`);
    const worker = await startWorker(name, context, parts);
    context.closing.add(`worker ${name}`, worker.close);
    done('works');
  }
}

async function startWorker(name: WorkerName, { settings, log }: CommandContext, parts: OpenParts): Promise<Worker> {
  const own = { ...parts, log: log.child({ worker: name }) };
  switch (name) {
    case 'scheduling':
      return (await import('../workers/scheduling/worker.ts')).startScheduling({
        ...own,
        deletedRetentionDays: settings.deletedRetentionDays,
        logRetentionDays: settings.logRetentionDays,
        jobRetentionDays: settings.jobRetentionDays,
        auditRetentionDays: settings.auditRetentionDays,
        notificationRetentionDays: settings.notificationRetentionDays,
      });
    case 'workflow':
      return (await import('../workers/workflow/worker.ts')).startWorkflow({
        ...own,
        docker: await parts.docker(),
        capacity: settings.containersMax,
        containersPerUserMax: settings.runningPerUser.containers,
        buildsPerUserMax: settings.runningPerUser.builds,
        maxResources: settings.maxResources,
        maxJobSeconds: settings.maxJobSeconds,
        maxBuildSeconds: settings.maxBuildSeconds,
        registryAllow: settings.registryAllow,
        localImages: settings.localImages,
        maxLogBytes: settings.maxJobLogBytes,
        maxDiskBytes: settings.maxContainerDiskBytes,
        policy: { ...settings.containerPolicy, cgroupParent: settings.buildCgroupParent },
      });
    case 'execution':
      return (await import('../workers/execution/worker.ts')).startExecution({
        ...own,
        allow: settings.heartbeatAllow,
        checksPerUserMax: settings.runningPerUser.heartbeats,
      });
    case 'joblogs':
      return (await import('../workers/joblogs/worker.ts')).startJoblogs(own);
  }
}
