import { isBeyondLinks, isOfHost } from '../network/links.ts';
import { socketFault } from '../network/sockets.ts';
import { CheckFailure, type Run, UnclearFailure } from './run.ts';

/** How a connection to one address failed. */
export interface AddressFault {
  address: string;
  code: string;
  /** Whether this machine's own kernel refused at once, by its routes or firewall. */
  isLocal: boolean;
}

/** Out of sockets, ports or memory: then no address of the host was tried fairly. */
const EXHAUSTED = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL']);
/** What the kernel says of every IPv6 address where it has that family switched off. */
const NO_IPV6 = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EPROTONOSUPPORT']);
/**
 * What the kernel says without a usable route: none, an unreachable, a prohibit and a blackhole
 * one. Routers on the way cause most of these codes too, by ICMP.
 */
const NO_ROUTE = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EPERM', 'EINVAL']);
const NO_ANSWER = new Set([...NO_ROUTE, 'EHOSTDOWN', 'ENONET', 'ETIMEDOUT', 'EPROTO', 'ENOPROTOOPT']);

/** The failure of a check that connected to none of the addresses. */
export function connectFailure(message: string, faults: AddressFault[], since: number): CheckFailure {
  const own = (): CheckFailure => new CheckFailure(`${message} The fault is this machine's.`, 'SYSTEM');
  if (faults.some(isOfExhaustion)) return own();
  const blame = faults.map(blameOf);
  const addressesWith = (whose: string) => faults.filter((_, n) => blame[n] === whose).map(({ address }) => address);
  if (blame.includes('HOST')) return new CheckFailure(message);
  const refused = addressesWith('REFUSED');
  if (refused.length > 0)
    return new UnclearFailure(message, 'CHECK_FAILED', { addresses: refused, since, refused: true });
  const unclear = addressesWith('UNCLEAR');
  if (unclear.length > 0 || faults.length === 0) {
    return new UnclearFailure(message, 'CHECK_FAILED', { addresses: unclear, since });
  }
  return own();
}

/** Whether this machine has no way to the address, by its routes or families: it sent no packet. */
export function hasNoWay(fault: AddressFault): boolean {
  return hasNoFamily(fault) || (fault.isLocal && NO_ROUTE.has(fault.code));
}

function hasNoFamily({ address, code, isLocal }: AddressFault): boolean {
  return isLocal && address.includes(':') && NO_IPV6.has(code);
}

function isOfExhaustion(fault: AddressFault): boolean {
  return EXHAUSTED.has(fault.code) && !hasNoFamily(fault);
}

/** Whose fault it is. REFUSED: the host's, by all that can be seen from here. */
function blameOf(fault: AddressFault): 'OURS' | 'HOST' | 'REFUSED' | 'UNCLEAR' {
  const { address, code } = fault;
  if (code === 'ENETDOWN' || hasNoFamily(fault)) return 'OURS';
  if (hasNoWay(fault)) return isOfHost(address) ? 'OURS' : 'HOST';
  if (!isBeyondLinks(address)) return 'HOST';
  return NO_ANSWER.has(code) ? 'UNCLEAR' : 'REFUSED';
}

/** What `failure` is once we know whether this machine is at fault. */
export async function judged(run: Run, failure: CheckFailure): Promise<CheckFailure> {
  if (!(failure instanceof UnclearFailure)) return failure;
  const fault = await unlessStopped(run.context.signal, faultOf(run, failure));
  if (fault === undefined) return failure;
  const { message, reason } = failure;
  return new CheckFailure(reason === 'TIMEOUT' ? `${message} ${fault}.` : `${fault}. ${message}`, 'SYSTEM');
}

async function faultOf(run: Run, failure: UnclearFailure): Promise<string | undefined> {
  const fault = await findFault(run, failure);
  if (fault !== undefined) run.connectivity.report(fault);
  return fault;
}

async function findFault(run: Run, { reason, suspect: doubt }: UnclearFailure): Promise<string | undefined> {
  const { name, isAnswered = false, ...suspect } = doubt;
  if (name !== undefined || suspect.refused) {
    const code = await socketFault(); // c-ares reports ECONNREFUSED then
    if (code !== undefined) return `This machine can open no socket (${code})`;
  }
  if (name !== undefined) {
    if (reason === 'TIMEOUT' && (await run.names.isLate(suspect.since)))
      return 'A name server of this machine does not answer, and the time was up before another one did';
    const health = await run.names.health(suspect.since);
    if (health === 'FAILING') return 'Every name server fails, whatever the name';
    // One that answered, and is silent to the root, takes questions over TCP alone.
    if (health === 'SILENT' && !isAnswered) return 'No name server answers anything';
  }
  return run.connectivity.fault(suspect);
}

/**
 * A check that is stopped meanwhile is not the workflow's fault either. What we cannot find out
 * counts against the host.
 */
function unlessStopped(signal: AbortSignal, fault: Promise<string | undefined>): Promise<string | undefined> {
  return new Promise((resolve) => {
    const stop = () => resolve('The check was stopped before it ended');
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    fault.then(resolve, () => resolve(undefined)).finally(() => signal.removeEventListener('abort', stop));
  });
}
