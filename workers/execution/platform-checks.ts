import { isDatabaseUp } from '../../db/client.ts';
import type { Parts } from '../shared/parts.ts';
import type { PlatformChecks } from './check.ts';

const REMEMBERED_MS = 1_000;

/** The platform's state. It is read at most once a second, however many heartbeats ask. */
export function createPlatformChecks({ db, bus, cache }: Pick<Parts, 'db' | 'bus' | 'cache'>): PlatformChecks {
  return {
    database: remember(() => isDatabaseUp(db)),
    bus: remember(() => bus.isUp()),
    cache: remember(() => cache.isUp()),
  };
}

function remember(ask: () => Promise<boolean>): () => Promise<boolean> {
  let answer: Promise<boolean> | undefined;
  let askedAt = 0;
  return () => {
    const now = performance.now();
    if (answer === undefined || now - askedAt > REMEMBERED_MS) {
      answer = ask();
      askedAt = now;
    }
    return answer;
  };
}
