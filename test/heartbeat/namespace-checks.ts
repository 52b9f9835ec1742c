import type { HeartbeatPayload } from '../../domain/payload/payload.ts';
import { type CheckResult, runCheck } from '../../workers/execution/check.ts';
import { createConnectivity } from '../../workers/execution/network/connectivity.ts';
import { createNames } from '../../workers/shared/dns/names.ts';
import { policy } from './policy.ts';

/**
 * Checks that run at once on one worker, which knows nothing yet about its network. A worker keeps
 * what it learned for its next round.
 */
export interface Round {
  /** Another worker begins here. Its CONNECTIVITY_TARGETS, if any. */
  worker?: { targets?: { host: string; port: number }[] };
  checks: { endpoint: string; user?: string; timeoutSeconds?: number }[];
}

/** What a round gave, with what the worker logged until its end. */
export interface RoundResult {
  results: CheckResult[];
  log: string[];
}

/** Runs in a network namespace (namespace.ts): takes rounds as JSON, and prints results as JSON. */
async function main(): Promise<void> {
  const rounds: Round[] = JSON.parse(process.argv[2] ?? '[]');
  const done: RoundResult[] = [];
  const log: string[] = [];
  const keep = (text: unknown) => void log.push(String(text));
  let connectivity = createConnectivity();
  for (const { worker, checks } of rounds) {
    if (worker !== undefined) {
      connectivity = createConnectivity({ witnesses: worker.targets ?? [], log: { warn: keep, info: keep } });
    }
    const results = await Promise.all(
      checks.map(({ endpoint, user = 'ann', timeoutSeconds = 10 }) => {
        const payload: HeartbeatPayload<never> = { kind: 'HEARTBEAT', endpoint, timeout_seconds: timeoutSeconds };
        return runCheck(payload, { ...context, connectivity, userId: user });
      }),
    );
    done.push({ results, log: log.splice(0) });
  }
  process.stdout.write(JSON.stringify(done));
}

const names = createNames({ hostsFile: 'test/heartbeat/namespace.hosts', resolvFile: '/nonexistent' });
const up = async () => true;
const context = {
  allow: policy('public,private,loopback,203.0.113.0/24'),
  platform: { database: up, bus: up, cache: up },
  signal: new AbortController().signal,
  names,
};

await main();
