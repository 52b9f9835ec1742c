import type { ServerResponse } from 'node:http';
import type { Identity } from '../../db/accounts/tokens.ts';
import { workerProblems } from '../../domain/workers.ts';
import type { Services } from '../context.ts';
import { systemStatus } from '../schema/system.ts';
import { isOperator, workersNow } from '../workers.ts';
import { sendJson } from './messages.ts';

/**
 * Says whether the system works, for load balancers and anyone else, without details. The parts are
 * checked at most once a second. An administrator's token also gets the parts, the workers, and
 * what is wrong with them. A missing worker does not change the status: this process answers
 * requests all the same.
 */
export async function health(
  response: ServerResponse,
  services: Services,
  identity: Promise<Identity | undefined> = Promise.resolve(undefined),
): Promise<void> {
  const parts = await systemStatus(services);
  const works = [parts.database, parts.bus, parts.cache].every((part) => part !== 'DOWN');
  // While the database is away, nobody can be identified.
  const isAsked = works && (await identity.then(isOperator, () => false));
  const details = isAsked ? { ...parts, ...(await workersOf(services)) } : {};
  sendJson(response, works ? 200 : 503, { status: works ? 'UP' : 'DOWN', ...details });
}

async function workersOf(services: Services) {
  const workers = await workersNow(services);
  return {
    problems: workerProblems(workers),
    workers: workers.map(({ name, state, version, host, engineId, engineAnswers, startedAt, seenAt }) => ({
      ...{ name, state, version, host, startedAt, lastSeenAt: seenAt },
      ...(engineId === null ? {} : { engine: engineId, engineAnswers }),
    })),
  };
}
