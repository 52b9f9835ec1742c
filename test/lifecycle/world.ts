import { sql } from 'drizzle-orm';
import { type ClaimedBuild, claimBuilds } from '../../db/builds/claim.ts';
import { endBuild } from '../../db/builds/finish.ts';
import { releaseBuilds } from '../../db/builds/leases.ts';
import { sweepBuilds } from '../../db/builds/sweep.ts';
import type { Db } from '../../db/client.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { type ClaimedJob, claimJobs, takeOverJobs } from '../../db/jobs/claim.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { renewLeases, returnJobs } from '../../db/jobs/leases.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { pauseWorkflow, resumeWorkflow } from '../../db/workflows/pause.ts';
import { purgeSome } from '../../db/workflows/purge.ts';
import { rebuildWorkflow } from '../../db/workflows/rebuild.ts';
import { deleteWorkflow, terminateWorkflow } from '../../db/workflows/terminate.ts';
import { createWorkflow, updateWorkflow } from '../../db/workflows/workflows.ts';
import type { Payload } from '../../domain/payload/payload.ts';
import { DEFAULT_RUN_POLICY, type RunPolicy, toRunPolicy } from '../../domain/schedule/run-policy.ts';
import { EVERY_MINUTE, schedule } from '../scheduling/support.ts';
import { letPass } from '../support/time.ts';
import { type JobOutcome, type Operation, PAUSE_SECONDS, type Policy } from './operations.ts';

/** The result of an operation for comparison with the model: its object and its answer. */
export interface Done {
  /** The workflow, job or build of the operation; undefined if there was none yet. */
  id?: string | undefined;
  outcome?: string | undefined;
  /** The ids that were created or changed. */
  ids?: string[];
  builds?: ClaimedBuild[];
  jobs?: ClaimedJob[];
}

export function payloadOf(container: boolean, variant: number): Payload {
  return container
    ? { kind: 'CONTAINER', image: `image:${variant}` }
    : { kind: 'HEARTBEAT', endpoint: `http://example.com/${variant}` };
}

const INTERVAL_MINUTES = 60;

/** Without overlap policy and retries, none is stored: as a workflow of an earlier version. */
function policyOf({ overlap, maxRetries }: Policy): RunPolicy | null {
  return overlap === 'QUEUE' && maxRetries === 0 ? null : toRunPolicy({ overlap, retry: { maxRetries } });
}

type Creation = Extract<Operation, { type: 'create' }>;

/**
 * The real system: every operation uses the functions that the api and the workers call, on a real
 * PostgreSQL.
 */
export class World {
  readonly workflows: { id: string; container: boolean }[] = [];
  /**
   * Every job and build that a worker ever held. Late writes of workers that have lost theirs are
   * part of the test.
   */
  readonly held: ClaimedJob[] = [];
  readonly heldBuilds: ClaimedBuild[] = [];
  readonly jobIds: string[] = [];
  readonly buildIds: string[] = [];
  /** Jobs that are dispatched but not claimed yet, like events on the bus. */
  #events: string[] = [];
  readonly db: Db;
  readonly userId: string;

  constructor(db: Db, userId: string) {
    this.db = db;
    this.userId = userId;
  }

  async do(op: Operation): Promise<Done> {
    switch (op.type) {
      case 'create':
        return this.#create(op);
      case 'rename':
        return this.#update(op.at, { name: 'renamed' });
      case 'interval':
        return this.#update(op.at, { schedule: { everyMinutes: op.minutes } });
      case 'cron':
        return this.#update(op.at, { schedule: EVERY_MINUTE });
      case 'policy':
        return this.#update(op.at, { runPolicy: policyOf(op) ?? DEFAULT_RUN_POLICY });
      case 'pause':
        return this.#changePause(op.at, (key) => {
          const until = op.ends ? new Date(Date.now() + PAUSE_SECONDS * 1_000) : null;
          return pauseWorkflow(this.db, { ...key, until, note: op.note });
        });
      case 'resume':
        return this.#changePause(op.at, (key) => resumeWorkflow(this.db, key));
      case 'threshold':
        return this.#update(op.at, { maxConsecutiveJobFailuresAllowed: op.failuresAllowed });
      case 'payload':
        return this.#update(op.at, {
          payload: payloadOf(pick(this.workflows, op.at)?.container === true, op.variant),
        });
      case 'rebuild':
        return this.#rebuild(op.at);
      case 'run':
        return this.#run(op.at);
      case 'terminate':
        return this.#endWorkflow(op.at, (key) => terminateWorkflow(this.db, key));
      case 'delete':
        return this.#endWorkflow(op.at, (key) => deleteWorkflow(this.db, key));
      case 'purge':
        return this.#endWorkflow(op.at, (key) => deleteWorkflow(this.db, { ...key, purge: true }));
      case 'cancel': {
        const id = pick(this.jobIds, op.at);
        return id === undefined ? {} : { id, outcome: (await cancelJob(this.db, { userId: this.userId, id })).outcome };
      }
      case 'letPass': {
        const id = pick(this.workflows, op.at)?.id;
        if (id !== undefined) await letPass(this.db, id, op.seconds);
        return { id };
      }
      case 'schedule': {
        const ids = await schedule(this.db);
        this.#events.push(...ids);
        for (const id of ids) if (!this.jobIds.includes(id)) this.jobIds.push(id);
        return { ids };
      }
      case 'sweepPurges':
        for (let more = true; more; ) more = await purgeSome(this.db);
        return {};
      default:
        return this.#work(op);
    }
  }

  /** The operations of workers. */
  async #work(op: Operation): Promise<Done> {
    switch (op.type) {
      case 'claim': {
        const ids = this.#events;
        this.#events = ids.slice(-2); // some events come twice
        const { claimed } = await claimJobs(this.db, ids, { owner: 'test', engineId: 'engine' });
        this.held.push(...claimed);
        return { jobs: claimed };
      }
      case 'end': {
        const job = pick(this.held, op.at);
        return job === undefined ? {} : this.#end([job], op.outcome);
      }
      case 'endAll':
        return this.#end(newestOfEach(this.held), op.outcome);
      case 'renew': {
        const job = pick(this.held, op.at);
        return { id: job?.id, ids: job ? [...(await renewLeases(this.db, [job])).kept] : [], jobs: job ? [job] : [] };
      }
      case 'return': {
        const job = pick(this.held, op.at);
        if (job !== undefined) await returnJobs(this.db, [job]);
        return { id: job?.id, jobs: job ? [job] : [] };
      }
      case 'adopt': {
        const job = pick(this.held, op.at);
        if (job === undefined) return {};
        const taken = await takeOverJobs(this.db, [job], { owner: 'other', engineId: 'engine' });
        this.held.push(...taken);
        return { id: job.id, jobs: taken };
      }
      case 'claimBuilds': {
        const { claimed } = await claimBuilds(this.db, [...this.buildIds], { owner: 'test' });
        this.heldBuilds.push(...claimed);
        return { builds: claimed };
      }
      case 'endBuild': {
        const build = pick(this.heldBuilds, op.at);
        if (build === undefined) return {};
        const outcome =
          op.status === 'COMPLETED'
            ? { status: op.status, imageId: 'sha256:1' }
            : { status: op.status, error: 'No such image.' };
        const ended = (await endBuild(this.db, { ...build, logLineCount: 0, ...outcome })) !== undefined;
        return { id: build.id, outcome: String(ended), builds: [build] };
      }
      case 'releaseBuild': {
        const build = pick(this.heldBuilds, op.at);
        if (build !== undefined) await releaseBuilds(this.db, [build]);
        return { id: build?.id, builds: build ? [build] : [] };
      }
      case 'loseBuilds':
        await this.db.execute(
          sql`UPDATE builds SET lease_expires_at = now() - interval '1 hour' WHERE lease_token IS NOT NULL`,
        );
        await sweepBuilds(this.db, { watchedSeconds: () => Number.POSITIVE_INFINITY });
        return {};
      default:
        throw new Error(`No worker does this: ${op.type}`);
    }
  }

  async #create({ container, cron, failuresAllowed, action, ...policy }: Creation): Promise<Done> {
    const { workflow, buildId } = await createWorkflow(this.db, {
      userId: this.userId,
      name: 'test',
      payload: payloadOf(container, 0),
      schedule: cron ? EVERY_MINUTE : { everyMinutes: INTERVAL_MINUTES },
      runPolicy: policyOf(policy),
      maxConsecutiveJobFailuresAllowed: failuresAllowed,
      onTooManyFailures: action,
    });
    this.workflows.push({ id: workflow.id, container });
    if (buildId !== undefined) this.buildIds.push(buildId);
    return { id: workflow.id, ids: buildId === undefined ? [] : [buildId] };
  }

  async #update(at: number, changes: Omit<Parameters<typeof updateWorkflow>[1], 'id' | 'userId'>): Promise<Done> {
    const id = pick(this.workflows, at)?.id;
    if (id === undefined) return {};
    const updated = await updateWorkflow(this.db, { userId: this.userId, id, ...changes });
    const buildId = updated.outcome === 'UPDATED' ? updated.buildId : undefined;
    if (buildId !== undefined) this.buildIds.push(buildId);
    return { id, outcome: updated.outcome, ids: buildId === undefined ? [] : [buildId] };
  }

  async #rebuild(at: number): Promise<Done> {
    const id = pick(this.workflows, at)?.id;
    if (id === undefined) return {};
    const rebuilt = await rebuildWorkflow(this.db, { userId: this.userId, id });
    if (rebuilt.outcome !== 'QUEUED') return { id, outcome: rebuilt.outcome };
    this.buildIds.push(rebuilt.build.id);
    return { id, outcome: rebuilt.outcome, ids: [rebuilt.build.id] };
  }

  async #run(at: number): Promise<Done> {
    const id = pick(this.workflows, at)?.id;
    if (id === undefined) return {};
    const requested = await runWorkflow(this.db, { userId: this.userId, id });
    const ids = requested.outcome === 'REQUESTED' ? [requested.job.id] : [];
    this.jobIds.push(...ids);
    return { id, outcome: requested.outcome, ids };
  }

  async #endWorkflow(
    at: number,
    act: (key: { userId: string; id: string }) => Promise<object | undefined>,
  ): Promise<Done> {
    const id = pick(this.workflows, at)?.id;
    if (id === undefined) return {};
    return { id, outcome: (await act({ userId: this.userId, id })) ? 'ENDED' : 'NOT_FOUND' };
  }

  async #changePause(
    at: number,
    act: (key: { userId: string; id: string }) => Promise<{ outcome: string }>,
  ): Promise<Done> {
    const id = pick(this.workflows, at)?.id;
    if (id === undefined) return {};
    return { id, outcome: (await act({ userId: this.userId, id })).outcome };
  }

  async #end(jobs: ClaimedJob[], outcome: JobOutcome): Promise<Done> {
    const { ended } = await endJobs(
      this.db,
      jobs.map((job) => ({ ...job, ...outcome, logLineCount: 0 })),
    );
    return { jobs, ids: [...ended] };
  }
}

export function pick<T>(of: readonly T[], at: number): T | undefined {
  return of.length === 0 ? undefined : of[at % of.length];
}

/** A worker holds each job once: of several attempts, the newest. */
function newestOfEach(held: ClaimedJob[]): ClaimedJob[] {
  return [...new Map(held.map((job) => [job.id, job])).values()];
}
