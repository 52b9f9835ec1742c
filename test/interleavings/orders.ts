import { createHash } from 'node:crypto';
import { refuseWrongChanges } from '../lifecycle/changes.ts';
import { testUser } from '../support/database.ts';
import { dbOf, openConnections } from './connections.ts';
import { openCopies } from './copies.ts';
import type { RunOrder } from './explore.ts';
import { judge, writeDown } from './judge.ts';
import type { State } from './states.ts';
import { type Act, type Answers, VERBS, type VerbName } from './verbs.ts';

/** Two or three verbs, and the state in which they begin. */
export interface Scenario {
  state: State;
  verbs: VerbName[];
  /** The verbs whose statements are two steps each: snapshot and locks. */
  splitting?: VerbName[];
}

export interface Runner {
  /** Runs orders of the verbs, each from the state of the scenario. */
  of(scenario: Scenario): RunOrder;
  close(): Promise<void>;
}

export async function openRunner(actors: number): Promise<Runner> {
  const connections = await openConnections(actors);
  const { db, scheduler } = connections;
  await writeDown(db);
  await refuseWrongChanges(db);
  const copies = await openCopies(db, await testUser(db, 'ann'));
  const verdicts = new Map<string, string[]>();

  /** Judges orders with the same end only once. */
  async function judged(answers: Answers): Promise<string[]> {
    const end = createHash('sha256')
      .update(await copies.fingerprint(answers))
      .digest('base64');
    const known = verdicts.get(end) ?? (await judge(db, answers));
    verdicts.set(end, known);
    return known;
  }

  return {
    of:
      ({ state, verbs, splitting = [] }) =>
      async (choose) => {
        const subject = await copies.begin(state);
        connections.splitting.clear();
        for (const [actor, name] of verbs.entries()) if (splitting.includes(name)) connections.splitting.add(actor);
        const answers: Answers = { ended: [], canceled: [], requested: [] };
        const acting = verbs.map((name, actor) => {
          const act: Act = VERBS[name][1];
          const own = dbOf(connections, actor);
          const label = verbs.indexOf(name) === actor ? name : `${name}, again`;
          return { name: label, run: async () => void (await act(own, subject, answers)) };
        });
        const order = await scheduler.run(acting, choose).finally(() => connections.splitting.clear());
        const wrong = order.errors.map(({ actor, error }) => `${actor} failed: ${messageOf(error)}`);
        if (!order.isAbandoned) wrong.push(...(await judged(answers)));
        return { order, wrong };
      },
    close: () => connections.close(),
  };
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.cause.message} (${error.message.slice(0, 80)})` : error.message;
}
