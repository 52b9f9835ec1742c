import { z } from 'zod';

export interface ContainerState {
  id: string;
  status: 'created' | 'running' | 'ended';
  exitCode: number;
  oomKilled: boolean;
  /** The engine's reason why it could not run. Empty if there is none. */
  error: string;
  startedAt: Date | undefined;
  finishedAt: Date | undefined;
  /** The signal that stops it, as its image or its creator named it. Undefined means SIGTERM. */
  stopSignal?: string | undefined;
  /** The user that it runs as, as its image or its creator named it. Empty means root. */
  user?: string | undefined;
  /** How the engine keeps its log. */
  logDriver?: string | undefined;
  labels: Record<string, string>;
}

const inspected = z.object({
  Id: z.string(),
  State: z.object({
    Status: z.string(),
    Running: z.boolean(),
    ExitCode: z.number(),
    OOMKilled: z.boolean(),
    Error: z.string(),
    StartedAt: z.string(),
    FinishedAt: z.string(),
  }),
  Config: z.object({
    StopSignal: z.string().optional(),
    User: z.string().optional(),
    Labels: z.record(z.string(), z.string()).nullish(),
  }),
  HostConfig: z.object({ LogConfig: z.object({ Type: z.string() }).optional() }).optional(),
});

/** Reads the engine's answer about one container. */
export function containerState(answer: unknown): ContainerState {
  const { Id, State, Config, HostConfig } = inspected.parse(answer);
  const startedAt = time(State.StartedAt);
  return {
    id: Id,
    status: State.Running ? 'running' : startedAt !== undefined || State.Status !== 'created' ? 'ended' : 'created',
    exitCode: State.ExitCode,
    oomKilled: State.OOMKilled,
    error: State.Error,
    startedAt,
    finishedAt: time(State.FinishedAt),
    stopSignal: Config.StopSignal || undefined,
    user: Config.User,
    logDriver: HostConfig?.LogConfig?.Type,
    labels: Config.Labels ?? {},
  };
}

/** The engine writes the year 1 for "never". */
function time(text: string): Date | undefined {
  const date = new Date(text);
  return date.getTime() > 0 ? date : undefined;
}
