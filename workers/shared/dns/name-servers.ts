import { Resolver } from 'node:dns/promises';
import type { DnsRecordType } from '../../../domain/payload/heartbeat-schema.ts';
import { recordsOf } from './records.ts';
import type { ServerHealth } from './root-question.ts';
import { createServerChoice } from './server-choice.ts';

/**
 * Asks the name servers of resolv.conf through c-ares, and knows whether they work at all. Each
 * resolution has its own resolver, and so its own socket. It can be cancelled alone, reads
 * resolv.conf afresh, and does not suffer from others: where packets were lost, 119 of 1,000 names
 * failed on a shared resolver, and at most 9 this way. A resolver costs 40 microseconds.
 */
export interface NameServers {
  open(): Queries;
  /**
   * Whether any server works now, after a name that was asked for at `since` (performance.now())
   * got no answer: if none does, the fault is ours, not the name's. A good answer to any other name
   * since then is proof enough. Otherwise it asks each server for the root, which takes up to two
   * seconds, and remembers the result for as long.
   */
  health(since: number): Promise<ServerHealth>;
  /**
   * Whether there was no time until now to ask a server that answers, because others are silent,
   * for a name that was asked for at `since`.
   */
  isLate(since: number): Promise<boolean>;
}

export interface Queries {
  /** The addresses of `name` in both families. Never rejects. */
  addresses(name: string): Promise<Answers>;
  /** The records of one type. Never rejects. */
  records(name: string, type: DnsRecordType): Promise<Answer>;
  /** Cancels all queries: pending ones get ECANCELLED. */
  cancel(): void;
}

export interface Answer {
  values: string[];
  /**
   * The code of c-ares when there are no values: ENOTFOUND, ENODATA, ESERVFAIL, ETIMEOUT,
   * ECONNREFUSED ...
   */
  code: string;
}

export interface Answers {
  answers: Answer[];
  /** The other family's, while it is late. Never rejects, and comes within LATE_FAMILY_MS. */
  late?: Promise<Answer>;
}

const QUERY_TIMEOUT_MS = 2_000; // for the first try; c-ares waits longer at each further one
const QUERY_TRIES = 3;
/** Node looks for queries that are late once a second. */
const QUERY_TIMEOUT_MS_MAX = QUERY_TIMEOUT_MS + 1_000;
/**
 * How long to wait for the other family's answer after the first one with addresses. RFC 8305 says
 * 50 ms for a browser; a check has more time.
 */
const OTHER_FAMILY_MS = 250;
/** How long it may still be of use: long enough for a second try of the query. */
const LATE_FAMILY_MS = QUERY_TIMEOUT_MS_MAX + 500;

/** Uses the servers of resolv.conf, or those in `named` (address:port). */
export function createNameServers(named?: string[]): NameServers {
  let workedAt = Number.NEGATIVE_INFINITY;
  const choice = createServerChoice(() => newResolver(named).getServers());

  async function ask(query: Promise<string[]>): Promise<Answer> {
    const since = performance.now();
    const answer = await query.then(
      (values) => ({ values, code: 'ENODATA' }),
      (error: NodeJS.ErrnoException) => ({ values: [], code: error.code ?? 'EUNKNOWN' }),
    );
    if (answer.values.length > 0 || isDefinite(answer.code)) workedAt = performance.now();
    if (answer.code !== 'ECANCELLED' && performance.now() - since > QUERY_TIMEOUT_MS) choice.doubt();
    return answer;
  }

  return {
    open() {
      const resolver = newResolver(choice.best(named));
      return {
        addresses: (name) => both(ask(resolver.resolve6(name)), ask(resolver.resolve4(name))),
        records: (name, type) => ask(recordsOf(resolver, name, type)),
        cancel: () => resolver.cancel(),
      };
    },
    async health(since) {
      return workedAt >= since ? 'WORKING' : choice.health();
    },
    async isLate(since) {
      const askedMs = performance.now() - since;
      return askedMs <= (await choice.silentSince(since)) * QUERY_TIMEOUT_MS_MAX;
    },
  };
}

/** Whether a name server gave this code. The other codes come from c-ares after no answer. */
export function isAnswered(code: string): boolean {
  return !['ETIMEOUT', 'ECONNREFUSED', 'ECANCELLED', 'EDESTRUCTION'].includes(code);
}

/** Whether the code says for certain that the name has no address: a server that works gives it. */
export function isDefinite(code: string): boolean {
  return code === 'ENOTFOUND' || code === 'ENODATA';
}

function newResolver(named: string[] | undefined): Resolver {
  const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES });
  if (named !== undefined) resolver.setServers(named);
  return resolver;
}

/** Resolves to both answers, or to the one with addresses when the other is late. */
function both(six: Promise<Answer>, four: Promise<Answer>): Promise<Answers> {
  return new Promise((resolve) => {
    const answers: Answer[] = [];
    let otherFamilyTimer: NodeJS.Timeout | undefined;
    const take = (answer: Answer, other: Promise<Answer>) => {
      answers.push(answer);
      clearTimeout(otherFamilyTimer);
      if (answers.length === 2) return resolve({ answers });
      if (answer.values.length === 0) return;
      otherFamilyTimer = setTimeout(() => resolve({ answers: [answer], late: inTime(other) }), OTHER_FAMILY_MS);
    };
    void six.then((answer) => take(answer, four));
    void four.then((answer) => take(answer, six));
  });
}

function inTime(late: Promise<Answer>): Promise<Answer> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, LATE_FAMILY_MS, { values: [], code: 'ETIMEOUT' });
    void late.then((answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}
