import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { HostAndPort } from '../../../domain/network/host-port.ts';
import { sharedAnswers } from '../../../platform/async/shared-answers.ts';
import { createNames, type Names } from '../../shared/dns/names.ts';
import { type Attempt, createCrowd, LATE_MS } from './crowd.ts';
import { isDead, routeTo } from './gateway.ts';
import { isBeyondLinks } from './links.ts';
import type { Outages } from './outages.ts';
import { accepts } from './witness.ts';

/**
 * Whether a check that could not reach its host failed by a fault of this machine or its network:
 * docs/operate/heartbeats.md has the rules, and docs/decisions why they are so.
 */
export interface Connectivity {
  /** `host` is the first address that the check tries. */
  begin(userId: string, host: string): Attempt;
  /**
   * What is wrong here, a sentence without its full stop, or undefined if the host itself is at
   * fault.
   */
  fault(suspect: Suspect): Promise<string | undefined>;
  /** Notes the fault that a check met: logs and stores it, once an outage. */
  report(fault: string): void;
}

/** A host that a check has not reached, for no reason that is certain. */
export interface Suspect {
  /** Without any: the name of the host did not resolve. */
  addresses: string[];
  /** When the check began to try (performance.now()). */
  since: number;
  /** The host answered, with a refusal. Only the operator's witnesses can speak against that. */
  refused?: boolean;
}

export interface ConnectivityOptions {
  /** Services that the operator names: if none accepts a connection, the network is at fault. */
  witnesses?: readonly HostAndPort[];
  log?: Pick<Logger, 'warn' | 'info'>;
  names?: Names;
  /** Stores when an outage begins and ends. */
  outages?: Outages | undefined;
  now?: () => number;
}

/** An outage has ended when a host is reached and nothing failed for so long. */
const OUTAGE_OVER_MS = 10_000;

export function createConnectivity({
  witnesses = [],
  log,
  names = createNames(),
  outages,
  now = () => performance.now(),
}: ConnectivityOptions = {}): Connectivity {
  const crowd = createCrowd(now);
  const reachesAny = (all: readonly HostAndPort[]) =>
    Promise.all(all.map((one) => accepts(one, names))).then((answers) => answers.includes(true));
  const isGatewayDead = sharedAnswers(isDead);
  const isWitnessed = sharedAnswers(() => reachesAny(witnesses));
  const isAcquainted = sharedAnswers(() => reachesAny(crowd.acquaintances()));
  let faultAt: number | undefined;
  /** A worker of this machine that has been before may have left an outage open. */
  let mayBeOpen = true;

  async function faultOf({ addresses, since, refused = false }: Suspect): Promise<string | undefined> {
    if (!addresses.every(isBeyondLinks)) return undefined;
    if (!refused && (await haveDeadGateways(addresses, since))) return 'The gateway of this machine does not answer';
    if (witnesses.length > 0) {
      if (await isWitnessed('', since)) return undefined;
      return 'This machine reaches none of the hosts that its operator names in CONNECTIVITY_TARGETS';
    }
    if (refused || addresses.length === 0 || crowd.failing({ soon: true }) === 0) return undefined;
    // Of many checks that fail at once, one is the first.
    if (crowd.failing() === 0) await sleep(LATE_MS);
    if (crowd.failing() === 0) return undefined;
    if (await isAcquainted('', since)) {
      crowd.clear();
      return undefined;
    }
    if (crowd.failing() === 0) return undefined; // while we asked, somebody has reached a host
    return 'This machine reaches no host: the checks of many hosts fail at once';
  }

  async function haveDeadGateways(addresses: string[], since: number): Promise<boolean> {
    const routes = (await Promise.all(addresses.map(routeTo))).filter((route) => route !== undefined);
    const dead = await Promise.all(routes.map(({ gateway }) => gateway !== undefined && isGatewayDead(gateway, since)));
    return dead.length > 0 && !dead.includes(false); // an address without a route says nothing
  }

  return {
    begin(userId, host) {
      const attempt = crowd.begin(userId, host);
      return {
        ...attempt,
        reached(at) {
          attempt.reached(at);
          if (!mayBeOpen || (faultAt !== undefined && now() - faultAt < OUTAGE_OVER_MS)) return;
          if (faultAt !== undefined) log?.info('Heartbeats reach hosts again.');
          faultAt = undefined;
          mayBeOpen = false;
          outages?.ended();
        },
      };
    },
    fault: faultOf,
    report(fault) {
      if (faultAt === undefined) {
        log?.warn(`Heartbeats fail by a fault of this machine or its network. ${fault}.`);
        outages?.begun(fault);
      }
      faultAt = now();
      mayBeOpen = true;
    },
  };
}
