import { askForRoot, type ServerHealth } from './root-question.ts';

/**
 * Which name servers to ask: c-ares waits two seconds for a silent one before it asks the next, at
 * each name anew. So servers that say nothing are left out until they answer again.
 */
export interface ServerChoice {
  /** The servers to ask, or `named` where there is nothing to change. */
  best(named: string[] | undefined): string[] | undefined;
  /** A name took so long that a server may be silent: looks at all, unless one does already. */
  doubt(): void;
  /** How many of the servers are silent that a name was asked of at `since`. */
  silentSince(since: number): Promise<number>;
  /** WORKING as soon as one server does: one is enough for c-ares too. */
  health(): Promise<ServerHealth>;
}

/** A look at all servers. */
interface Look {
  servers: Promise<ServerHealth | 'CLOSED'>[];
  /** How many of those that were in use are silent, once all have been asked. */
  silent: Promise<number>;
  /** When the choice followed it (performance.now()). */
  endedAt: number;
}

const FRESH_MS = 2_000;
/** How often to look whether a silent server answers again. */
const LOOK_AGAIN_MS = 30_000;
const SERVERS_MAX = 8;

export function createServerChoice(read: () => string[]): ServerChoice {
  let silent: ReadonlySet<string> = new Set();
  let last: Look | undefined;

  function look(freshMs: number): Look {
    if (last !== undefined && performance.now() < last.endedAt + freshMs) return last;
    const all = read().slice(0, SERVERS_MAX);
    const inUse = all.filter((server) => !silent.has(server));
    const servers = all.map(askForRoot);
    const now: Look = { servers, silent: Promise.resolve(0), endedAt: Number.POSITIVE_INFINITY };
    now.silent = Promise.all(servers).then((healths) => {
      const found = all.filter((_, n) => healths[n] === 'SILENT');
      const answers = healths.some((health) => health === 'WORKING' || health === 'FAILING');
      // Where none answers, no choice is better than all of them.
      silent = new Set(answers ? found : []);
      now.endedAt = performance.now();
      return inUse.filter((server) => silent.has(server)).length;
    });
    last = now;
    return now;
  }

  return {
    best(named) {
      if (silent.size === 0) return named;
      look(LOOK_AGAIN_MS);
      const rest = read().filter((server) => !silent.has(server));
      return rest.length === 0 ? named : rest;
    },
    doubt() {
      if (read().length > 1) look(FRESH_MS);
    },
    async silentSince(since) {
      if (read().length < 2) return 0;
      const now = look(FRESH_MS);
      const count = await now.silent;
      return since <= now.endedAt ? count : 0; // later names were not asked of the silent ones
    },
    async health() {
      const { servers } = look(FRESH_MS);
      const working = servers.map(async (health) => {
        if ((await health) !== 'WORKING') throw new Error('This server does not work.');
      });
      return Promise.any(working).then(
        () => 'WORKING',
        async () => ((await Promise.all(servers)).includes('FAILING') ? 'FAILING' : 'SILENT'),
      );
    },
  };
}
