import net, { type Socket } from 'node:net';
import type { Answer } from '../../shared/dns/name-servers.ts';
import { type AddressFault, hasNoWay } from './faults.ts';
import type { Run } from './run.ts';

/** How long an address may take before the next one is tried beside it (RFC 8305's figure). */
const NEXT_ADDRESS_MS = 250;
/** How many addresses may get packets. Those to which this machine has no way use up no place. */
const PLACES_MAX = 8;
/** While the other family's answer is late, its part of the places is kept. */
const PLACES_OF_ONE_FAMILY_MAX = PLACES_MAX / 2;
const TRIES_MAX = 64;

/** The addresses of a host. The race moves each from `waiting` to `tried`, and keeps the faults. */
export interface Field {
  readonly port: number;
  waiting: string[];
  readonly tried: string[];
  readonly faults: AddressFault[];
  /** While the name servers have not answered for one family. */
  late: LateFamily | undefined;
}

export interface LateFamily {
  /** Never rejects. */
  answer: Promise<Answer>;
  /** Receives the answer while it is of use, and returns the addresses that may be tried. */
  admit: (answer: Answer) => string[];
  /** Every address of the other family has failed: only this answer is missing. */
  onAlone: () => void;
}

/** The address that connected first, or none. */
export type Winner = { socket: Socket; address: string } | undefined;

/**
 * Simple happy eyeballs: tries each address in turn, the next one when the last has failed or is
 * late. A family whose answer is late takes part from then on. Does not resolve when the check ends
 * first.
 */
export function firstToConnect(run: Run, field: Field): Promise<Winner> {
  return new Promise((resolve) => {
    const open = new Set<Socket>();
    let taken = 0;
    let isOver = false;
    let nextTimer: NodeJS.Timeout | undefined;

    const end = () => {
      isOver = true;
      clearTimeout(nextTimer);
    };
    const next = () => {
      clearTimeout(nextTimer);
      if (isOver) return;
      const places = field.late === undefined ? PLACES_MAX : PLACES_OF_ONE_FAMILY_MAX;
      const address = taken < places && field.tried.length < TRIES_MAX ? field.waiting.shift() : undefined;
      if (address !== undefined) return tryOne(address);
      if (open.size > 0) return;
      if (field.late !== undefined) return field.late.onAlone();
      end();
      resolve(undefined);
    };
    const tryOne = (address: string) => {
      field.tried.push(address);
      taken += 1;
      const socket = run.hold(net.connect({ host: address, port: field.port }));
      open.add(socket);
      let isLocal = true;
      afterTicks(LOCAL_TICKS, () => {
        isLocal = false;
      });
      nextTimer = setTimeout(next, NEXT_ADDRESS_MS);
      socket.once('connect', () => {
        end();
        const losers = [...open].filter((other) => other !== socket);
        open.clear();
        for (const loser of losers) loser.destroy();
        resolve({ socket, address });
      });
      socket.once('error', (error: NodeJS.ErrnoException) => {
        const fault = { address, code: error.code ?? error.message, isLocal };
        field.faults.push(fault);
        if (hasNoWay(fault)) taken -= 1;
      });
      socket.once('close', () => {
        if (open.delete(socket)) next();
      });
    };
    void field.late?.answer.then((answer) => {
      const more = isOver ? undefined : field.late?.admit(answer);
      field.late = undefined;
      if (more === undefined) return;
      field.waiting = inTurns([...field.waiting, ...more]);
      if (more.length > 0 || open.size === 0) next();
    });
    run.atEnd(end);
    next();
  });
}

/**
 * Node reads no socket before all ticks are done. What the kernel decides by itself comes within
 * the first of them (the first one, in Node 20 and 24), and no packet can have come back by then.
 * `setImmediate` is too late: called from another immediate, it waits until sockets were read.
 */
const LOCAL_TICKS = 10;

function afterTicks(count: number, then: () => void): void {
  if (count === 0) then();
  else process.nextTick(afterTicks, count - 1, then);
}

/**
 * The order of RFC 8305: IPv6 first, then the families in turns. So a family without a route costs
 * its addresses alone, however many there are.
 */
export function inTurns(addresses: string[]): string[] {
  const six = addresses.filter((address) => address.includes(':'));
  const four = addresses.filter((address) => !address.includes(':'));
  const longer = Math.max(six.length, four.length);
  return Array.from({ length: longer }, (_, n) => [six[n] ?? [], four[n] ?? []].flat()).flat();
}
