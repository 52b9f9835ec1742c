import type { Settings } from '../platform/settings/parse.ts';
import type { Worker } from '../workers/shared/parts.ts';
import { reportWorker } from '../workers/shared/presence.ts';
import { WORKERS, type WorkerName } from './command-line.ts';
import type { CommandContext } from './context.ts';
import type { OpenParts } from './open-parts.ts';
import { progress } from './progress.ts';
import type { ShutdownStage } from './shutdown.ts';

/**
 * Workers start from the end of the path, and close from its beginning. So lines are stored until
 * the last one is made.
 */
const ORDER: WorkerName[] = ['joblogs', 'alerting', 'execution', 'workflow', 'scheduling'];
const STAGES: Record<WorkerName, ShutdownStage> = {
  scheduling: 'scheduling',
  workflow: 'runs',
  execution: 'runs',
  joblogs: 'log storage',
  alerting: 'runs',
};

export async function startWorkers(context: CommandContext, parts: OpenParts, names: readonly WorkerName[] = WORKERS) {
  for (const name of ORDER.filter((worker) => names.includes(worker))) {
    context.shutdown.signal.throwIfAborted();
    const done = progress(context.log, `worker ${name}`);
    const worker = await startWorker(name, context, parts);
    context.shutdown.add(STAGES[name], `worker ${name}`, worker.close);
    // The workflow worker reports itself, with its engine.
    if (name !== 'workflow') {
      const reportEnd = await reportWorker({ ...parts, log: context.log.child({ worker: name }) }, name);
      context.shutdown.add(STAGES[name], `report of worker ${name}`, reportEnd);
    }
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
        imageRetentionDays: settings.imageRetentionDays,
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
        connectivityTargets: settings.connectivityTargets,
        checksPerUserMax: settings.runningPerUser.heartbeats,
      });
    case 'joblogs':
      return (await import('../workers/joblogs/worker.ts')).startJoblogs(own);
    case 'alerting':
      return (await import('../workers/alerting/worker.ts')).startAlerting({
        ...own,
        allow: settings.alertAllow,
        smtp: smtpOf(settings),
        publicUrl: settings.publicUrl,
      });
  }
}

function smtpOf({ smtpUrl: url, mailFrom: from }: Settings): { url: string; from: string } | undefined {
  return url === undefined || from === undefined ? undefined : { url, from };
}
