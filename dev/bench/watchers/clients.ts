import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Opening, Report, Request } from './protocol.ts';

/** Processes of subscribers. */
export interface Clients {
  /** Opens these, divided among the processes, and resolves when all are subscribed. */
  open(opening: Opening): Promise<void>;
  /** Counts from now on: only lines that are printed from now on. */
  measure(): Promise<void>;
  report(): Promise<Report>;
  close(): Promise<void>;
}

export async function startClients(count: number): Promise<Clients> {
  const children = Array.from({ length: count }, () =>
    fork(new URL('client.ts', import.meta.url), { execArgv: ['--import', 'tsx', '--no-warnings'] }),
  );
  const ask = async (child: ChildProcess, request: Request): Promise<unknown> => {
    const answered = once(child, 'message');
    child.send(request);
    const [answer] = await answered;
    return answer;
  };
  return {
    async open(opening) {
      const share = Math.ceil(opening.sockets / count);
      await Promise.all(
        children.map((child, n) =>
          ask(child, { do: 'OPEN', opening: { ...opening, sockets: Math.min(share, opening.sockets - n * share) } }),
        ),
      );
    },
    async measure() {
      await Promise.all(children.map((child) => ask(child, { do: 'MEASURE' })));
    },
    async report() {
      const reports = (await Promise.all(children.map((child) => ask(child, { do: 'REPORT' })))) as Report[];
      return reports.reduce((one, other) => ({
        buckets: [...one.buckets, ...other.buckets],
        events: one.events + other.events,
        bytes: one.bytes + other.bytes,
        problems: one.problems + other.problems,
        firstProblem: one.firstProblem || other.firstProblem,
        least: Math.min(one.least, other.least),
        resumedAt: Math.max(one.resumedAt, other.resumedAt),
      }));
    },
    async close() {
      await Promise.all(
        children.map(async (child) => {
          const exited = once(child, 'exit');
          child.send({ do: 'CLOSE' } satisfies Request);
          await exited;
        }),
      );
    },
  };
}

/** The milliseconds within which `fraction` of the lines came. */
export function latency({ buckets }: Report, fraction: number): number {
  const sorted = [...buckets].sort(([a], [b]) => a - b);
  let left = sorted.reduce((sum, [, lines]) => sum + lines, 0) * fraction;
  for (const [ms, lines] of sorted) {
    left -= lines;
    if (left <= 0) return ms;
  }
  return Number.NaN;
}
