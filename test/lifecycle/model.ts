import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import {
  DEFAULT_RUN_POLICY,
  type OverlapPolicy,
  type PauseReason,
  type TooManyFailuresAction,
} from '../../domain/schedule/run-policy.ts';
import type { BuildStatus, JobStatus, TerminationReason } from '../../domain/states.ts';
import { type JobOutcome, type Operation, PAUSE_SECONDS } from './operations.ts';
import type { Done } from './world.ts';

export interface ModelWorkflow {
  container: boolean;
  variant: number;
  generation: number;
  buildStatus: BuildStatus;
  /** The generation that jobs run. Undefined while none may run. */
  runs: number | undefined;
  failures: number;
  failuresAllowed: number;
  action: TooManyFailuresAction;
  overlap: OverlapPolicy;
  maxRetries: number;
  /** Stays behind its end, as the row does. */
  pause: Pause | null;
  reason: TerminationReason | null;
  deleted: boolean;
  purged: boolean;
}

export interface Pause {
  reason: PauseReason;
  note: string | null;
  /** In the time of the workflow (Model.now). Undefined: it has no end. */
  endsAt: number | undefined;
}

export interface ModelJob {
  workflowId: string;
  generation: number;
  status: JobStatus;
  attempt: number;
  /** Attempts that do not count. */
  uncounted: number;
  /** How many attempts have failed and were followed by another one. */
  retries: number;
  stopping: boolean;
  /** The job was requested and has never been dispatched. */
  waits: boolean;
  /** The lease whose writes count. */
  token: string | null;
}

export interface ModelBuild {
  workflowId: string;
  generation: number;
  status: BuildStatus;
  attempt: number;
  uncounted: number;
  token: string | null;
}

/** For how long an operation takes on a busy machine: the database saw it before the model. */
const CLOCK_SECONDS = 2;

/**
 * The lifecycle as the documents describe it, without schedules, locks or statements: the answer of
 * each operation, and what becomes of workflows, builds and jobs. The scheduling worker depends on
 * time, so the model does not predict it; judge.ts checks it.
 */
export class Model {
  readonly workflows = new Map<string, ModelWorkflow>();
  readonly jobs = new Map<string, ModelJob>();
  readonly builds = new Map<string, ModelBuild>();
  /** When failed jobs are tried again, at the earliest and at the latest. */
  readonly retries = new Map<string, { from: number; until: number }>();
  readonly #passed = new Map<string, number>();

  /** The seconds that have passed for a workflow, those that were skipped among them. */
  now(workflowId: string): number {
    return Date.now() / 1_000 + (this.#passed.get(workflowId) ?? 0);
  }

  /**
   * No time of a sequence comes near the end of a pause, so this is certain (PAUSE_SECONDS). The
   * scheduling worker may not have seen that the pause has ended.
   */
  isPaused(workflowId: string): boolean {
    const pause = this.workflows.get(workflowId)?.pause;
    return pause !== undefined && pause !== null && (pause.endsAt ?? Number.POSITIVE_INFINITY) > this.now(workflowId);
  }

  /** Applies an operation, and returns the outcome that it should have had. */
  apply(op: Operation, done: Done): string | undefined {
    const workflow = this.workflows.get(done.id ?? '');
    switch (op.type) {
      case 'create':
        return this.#create(op, done);
      case 'rename':
      case 'interval':
      case 'cron':
        return done.id && this.#updated(workflow);
      case 'policy':
        if (this.#updated(workflow) === 'UPDATED' && workflow)
          Object.assign(workflow, { overlap: op.overlap, maxRetries: op.maxRetries });
        return done.id && this.#updated(workflow);
      case 'pause':
      case 'resume':
        return done.id && this.#changePause(done.id, workflow, op);
      case 'letPass':
        if (done.id) this.#passed.set(done.id, (this.#passed.get(done.id) ?? 0) + op.seconds);
        return undefined;
      case 'threshold':
        if (this.#updated(workflow) === 'UPDATED' && workflow) workflow.failuresAllowed = op.failuresAllowed;
        return done.id && this.#updated(workflow);
      case 'payload':
        if (this.#updated(workflow) === 'UPDATED' && workflow && this.#isBuiltAnew(workflow, op.variant)) {
          this.#newPayload(done.id ?? '', workflow, op.variant, done.ids?.[0]);
        }
        return done.id && this.#updated(workflow);
      case 'rebuild':
        return done.id && this.#rebuild(done.id, workflow, done.ids?.[0]);
      case 'run':
        return this.#run(workflow, done);
      case 'terminate':
      case 'delete':
      case 'purge': {
        if (!done.id) return undefined;
        if (!workflow || workflow.purged) return 'NOT_FOUND';
        this.#terminate(done.id, workflow, op.type === 'terminate' ? 'REQUESTED' : 'DELETED');
        if (op.type !== 'terminate') workflow.deleted = true;
        if (op.type === 'purge') workflow.purged = true;
        return 'ENDED';
      }
      case 'cancel':
        return done.id === undefined ? undefined : this.#cancel(this.jobs.get(done.id));
      case 'claim':
        for (const { id, leaseToken } of done.jobs ?? []) {
          const job = this.#job(id);
          if (job.status !== 'QUEUED') throw new Error(`A job that is ${job.status} was claimed.`);
          Object.assign(job, { status: 'RUNNING', attempt: job.attempt + 1, token: leaseToken });
        }
        return undefined;
      case 'end':
      case 'endAll':
        this.#end(done, op.outcome);
        return undefined;
      case 'renew':
        for (const { id, leaseToken } of done.jobs ?? []) {
          if (this.#holds(id, leaseToken) !== (done.ids?.length === 1))
            throw new Error('A lease is not whose it should be.');
        }
        return undefined;
      case 'return':
        for (const { id, leaseToken } of done.jobs ?? []) {
          if (!this.#holds(id, leaseToken)) continue;
          const job = this.#job(id);
          const { stopping, uncounted } = job;
          Object.assign(job, { status: stopping ? 'CANCELED' : 'PENDING', uncounted: uncounted + 1, token: null });
        }
        return undefined;
      case 'adopt':
        for (const { id, attempt, leaseToken } of done.jobs ?? []) {
          const job = this.#job(id);
          if (job.status !== 'RUNNING' || job.attempt !== attempt)
            throw new Error('An attempt was adopted that is not.');
          job.token = leaseToken;
        }
        return undefined;
      default:
        return this.#build(op, done);
    }
  }

  #create(
    { container, failuresAllowed, action, overlap, maxRetries }: Extract<Operation, { type: 'create' }>,
    done: Done,
  ): undefined {
    this.workflows.set(done.id ?? '', {
      container,
      failuresAllowed,
      action,
      overlap,
      maxRetries,
      pause: null,
      variant: 0,
      generation: 1,
      buildStatus: container ? 'QUEUED' : 'COMPLETED',
      runs: container ? undefined : 1,
      failures: 0,
      reason: null,
      deleted: false,
      purged: false,
    });
    this.#queueBuild(done.ids?.[0], done.id ?? '', 1);
  }

  #changePause(id: string, workflow: ModelWorkflow | undefined, op: Extract<Operation, { type: 'pause' | 'resume' }>) {
    const refusal = this.#updated(workflow);
    if (workflow === undefined || refusal !== 'UPDATED') return refusal;
    if (op.type === 'pause') {
      const reason = this.isPaused(id) ? (workflow.pause?.reason ?? 'REQUESTED') : 'REQUESTED';
      workflow.pause = { reason, note: op.note, endsAt: op.ends ? this.now(id) + PAUSE_SECONDS : undefined };
    } else if (this.isPaused(id)) {
      if (workflow.pause?.reason === 'FAILURES') workflow.failures = 0;
      workflow.pause = null;
    }
    return 'CHANGED';
  }

  #updated(workflow: ModelWorkflow | undefined): string {
    if (!workflow || workflow.purged) return 'NOT_FOUND';
    return workflow.reason === null ? 'UPDATED' : 'TERMINATED';
  }

  #isBuiltAnew({ container, buildStatus, variant }: ModelWorkflow, wanted: number): boolean {
    return variant !== wanted || (container && buildStatus === 'FAILED');
  }

  #newPayload(id: string, workflow: ModelWorkflow, variant: number, buildId: string | undefined): void {
    if (workflow.variant !== variant) workflow.runs = workflow.container ? undefined : workflow.generation + 1;
    Object.assign(workflow, { variant, generation: workflow.generation + 1 });
    this.#cancelBuilds(id);
    if (!workflow.container) return;
    workflow.buildStatus = 'QUEUED';
    this.#queueBuild(buildId, id, workflow.generation);
  }

  #rebuild(id: string, workflow: ModelWorkflow | undefined, buildId: string | undefined): string {
    const refusal = this.#updated(workflow);
    if (workflow === undefined || refusal !== 'UPDATED') return refusal;
    if (!workflow.container) return 'NO_IMAGE';
    if (workflow.buildStatus === 'QUEUED' || workflow.buildStatus === 'STARTED') return 'UNDER_WAY';
    Object.assign(workflow, { generation: workflow.generation + 1, buildStatus: 'QUEUED' });
    this.#queueBuild(buildId, id, workflow.generation);
    return 'QUEUED';
  }

  #run(workflow: ModelWorkflow | undefined, { id, ids }: Done): string | undefined {
    if (id === undefined) return undefined;
    if (!workflow || workflow.purged) return 'NOT_FOUND';
    if (workflow.reason !== null) return 'TERMINATED';
    const { runs: generation } = workflow;
    if (generation === undefined) return 'NOT_READY';
    this.jobs.set(ids?.[0] ?? '', {
      workflowId: id,
      generation,
      status: 'PENDING',
      attempt: 0,
      uncounted: 0,
      retries: 0,
      stopping: false,
      waits: true,
      token: null,
    });
    return 'REQUESTED';
  }

  #terminate(id: string, workflow: ModelWorkflow, reason: TerminationReason): void {
    if (workflow.reason !== null) return;
    workflow.reason = reason;
    if (this.#cancelBuilds(id)) workflow.buildStatus = 'CANCELED';
    // The scheduling worker cancels the jobs that are still requested.
    if (reason === 'FAILURES') return;
    for (const job of this.jobs.values()) if (job.workflowId === id) this.#cancel(job);
  }

  #cancel(job: ModelJob | undefined): string {
    if (!job || this.workflows.get(job.workflowId)?.purged) return 'NOT_FOUND';
    if (job.status === 'RUNNING') {
      job.stopping = true;
      return 'STOPPING';
    }
    if (job.status !== 'PENDING' && job.status !== 'QUEUED') return 'ENDED';
    Object.assign(job, { status: 'CANCELED', waits: false });
    return 'CANCELED';
  }

  #end({ jobs = [], ids = [] }: Done, { status, failureReason }: JobOutcome): void {
    const held = jobs.filter(({ id, leaseToken }) => this.#holds(id, leaseToken)).map(({ id }) => id);
    if (held.sort().join() !== [...ids].sort().join()) throw new Error(`Held were ${held}, and ${ids} have ended.`);
    for (const id of held) {
      const job = this.#job(id);
      const workflow = this.workflows.get(job.workflowId);
      const counts = workflow?.reason === null && status !== 'CANCELED' && failureReason !== 'SYSTEM';
      if (counts && status === 'FAILED' && this.#isRetried(id, job, workflow)) continue;
      Object.assign(job, { status, token: null });
      if (!counts) continue;
      workflow.failures = status === 'FAILED' ? workflow.failures + 1 : 0;
      if (status === 'FAILED' && workflow.failures >= workflow.failuresAllowed)
        this.#failTooOften(job.workflowId, workflow);
    }
  }

  #isRetried(id: string, job: ModelJob, { maxRetries }: ModelWorkflow): boolean {
    if (job.stopping || job.retries >= maxRetries) return false;
    const { delaySeconds, factor } = DEFAULT_RUN_POLICY.retry;
    const delay = delaySeconds * factor ** job.retries;
    const now = this.now(job.workflowId);
    this.retries.set(id, { from: now - CLOCK_SECONDS + delay * 0.9, until: now + CLOCK_SECONDS + delay * 1.1 });
    Object.assign(job, { status: 'PENDING', token: null, retries: job.retries + 1 });
    return true;
  }

  #failTooOften(id: string, workflow: ModelWorkflow): void {
    if (workflow.action === 'TERMINATE') this.#terminate(id, workflow, 'FAILURES');
    if (workflow.action !== 'PAUSE') return;
    const before = this.isPaused(id) ? workflow.pause : null;
    if (before?.reason === 'FAILURES') return;
    workflow.pause = { reason: 'FAILURES', note: before?.note ?? null, endsAt: undefined };
  }

  #build(op: Operation, { id, outcome, builds = [] }: Done): string | undefined {
    const build = this.builds.get(id ?? '');
    const held = build !== undefined && build.token !== null && build.token === builds[0]?.leaseToken;
    switch (op.type) {
      case 'claimBuilds': {
        const claimed = new Map(builds.map((row) => [row.id, row.leaseToken]));
        for (const [buildId, each] of this.builds) {
          if ((each.status === 'QUEUED') !== claimed.has(buildId)) throw new Error('Not what was QUEUED was claimed.');
          if (each.status === 'QUEUED') this.#setBuild(each, 'STARTED', claimed.get(buildId) ?? null, each.attempt + 1);
        }
        return undefined;
      }
      case 'endBuild':
        if (held) this.#setBuild(build, op.status, null);
        return outcome === undefined ? undefined : String(held);
      case 'releaseBuild':
        if (held) {
          build.uncounted += 1;
          this.#setBuild(build, 'QUEUED', null);
        }
        return undefined;
      case 'loseBuilds':
        for (const each of this.builds.values()) {
          if (each.status !== 'STARTED') continue;
          this.#setBuild(each, each.attempt - each.uncounted < ATTEMPTS_MAX ? 'QUEUED' : 'FAILED', null);
        }
        return undefined;
      default:
        return undefined;
    }
  }

  #setBuild(build: ModelBuild, status: BuildStatus, token: string | null, attempt = build.attempt): void {
    Object.assign(build, { status, token, attempt });
    const workflow = this.workflows.get(build.workflowId);
    if (workflow?.generation === build.generation) workflow.buildStatus = status;
    if (status === 'COMPLETED' && workflow?.generation === build.generation) workflow.runs = build.generation;
    if (status !== 'FAILED' || workflow?.runs !== undefined) return;
    for (const job of this.jobs.values()) if (job.workflowId === build.workflowId && job.waits) this.#cancel(job);
  }

  #queueBuild(id: string | undefined, workflowId: string, generation: number): void {
    if (id !== undefined)
      this.builds.set(id, { workflowId, generation, status: 'QUEUED', attempt: 0, uncounted: 0, token: null });
  }

  #cancelBuilds(workflowId: string): boolean {
    const active = [...this.builds.values()].filter(
      (build) => build.workflowId === workflowId && (build.status === 'QUEUED' || build.status === 'STARTED'),
    );
    for (const build of active) Object.assign(build, { status: 'CANCELED', token: null });
    return active.length > 0;
  }

  #holds(id: string, leaseToken: string): boolean {
    return this.jobs.get(id)?.token === leaseToken;
  }

  #job(id: string): ModelJob {
    const job = this.jobs.get(id);
    if (job === undefined) throw new Error(`There is no job ${id}.`);
    return job;
  }
}
