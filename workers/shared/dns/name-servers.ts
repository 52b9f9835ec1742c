import { Resolver } from 'node:dns/promises';

/**
 * Asks the name servers of resolv.conf through c-ares, and knows whether they answer at all. Each
 * resolution has its own resolver, and so its own socket. It can be cancelled alone, reads
 * resolv.conf afresh, and does not suffer from others: where packets were lost, 119 of 1,000 names
 * failed on a shared resolver, and at most 9 this way. A resolver costs 40 microseconds.
 */
export interface NameServers {
  open(): Queries;
  /** Asks for the root, which every name server knows, at most once a second: see `areSilent`. */
  probe(): void;
  /** Whether no server has answered since a probe: then the fault is ours, not the name's. */
  areSilent(): boolean;
}

export interface Queries {
  /** The addresses of `name` in both families. Never rejects. */
  addresses(name: string): Promise<Answer[]>;
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

const QUERY_TIMEOUT_MS = 2_000; // for the first try; c-ares waits longer at each further one
const QUERY_TRIES = 3;
/**
 * How long to wait for the other family's answer after the first one with addresses. RFC 8305 says
 * 50 ms for a browser; a check has more time.
 */
const OTHER_FAMILY_MS = 250;
const PROBE_EVERY_MS = 1_000;
const PROBE_PATIENCE_MS = 1_000;
const PROBE_FRESH_MS = 30_000;

/** Uses the servers of resolv.conf, or those in `named` (address:port). */
export function createNameServers(named?: string[]): NameServers {
  let silentSince: number | undefined;
  let probedAt = Number.NEGATIVE_INFINITY;

  async function ask(query: Promise<string[]>): Promise<Answer> {
    const answer = await query.then(
      (values) => ({ values, code: 'ENODATA' }),
      (error: NodeJS.ErrnoException) => ({ values: [], code: error.code ?? 'EUNKNOWN' }),
    );
    if (answer.values.length > 0 || isAnswered(answer.code)) silentSince = undefined;
    return answer;
  }

  return {
    open() {
      const resolver = newResolver(named);
      return {
        addresses: (name) => both(ask(resolver.resolve6(name)), ask(resolver.resolve4(name))),
        cancel: () => resolver.cancel(),
      };
    },
    probe() {
      const age = performance.now() - probedAt;
      if (age < PROBE_EVERY_MS) return;
      if (silentSince === undefined || age > PROBE_FRESH_MS) silentSince = performance.now();
      probedAt = performance.now();
      void ask(newResolver(named).resolveNs('.'));
    },
    areSilent() {
      const now = performance.now();
      return silentSince !== undefined && now - silentSince > PROBE_PATIENCE_MS && now - probedAt < PROBE_FRESH_MS;
    },
  };
}

/** Whether a name server gave this code. The other codes come from c-ares after no answer. */
export function isAnswered(code: string): boolean {
  return !['ETIMEOUT', 'ECONNREFUSED', 'ECANCELLED', 'EDESTRUCTION'].includes(code);
}

function newResolver(named: string[] | undefined): Resolver {
  const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES });
  if (named !== undefined) resolver.setServers(named);
  return resolver;
}

/** Resolves to both answers, or only to the one with addresses when the other is late. */
function both(six: Promise<Answer>, four: Promise<Answer>): Promise<Answer[]> {
  return new Promise((resolve) => {
    const answers: Answer[] = [];
    let otherFamilyTimer: NodeJS.Timeout | undefined;
    const take = (answer: Answer) => {
      answers.push(answer);
      clearTimeout(otherFamilyTimer);
      if (answers.length === 2) resolve(answers);
      else if (answer.values.length > 0) otherFamilyTimer = setTimeout(resolve, OTHER_FAMILY_MS, answers);
    };
    void six.then(take);
    void four.then(take);
  });
}
