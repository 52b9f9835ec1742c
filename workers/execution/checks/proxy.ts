import net, { type Socket } from 'node:net';
import { shownHostAndPort } from '../../../domain/network/host-port.ts';
import type { HeartbeatPayload } from '../../../domain/payload/payload.ts';
import { admittedAddresses, admittedLater, type Connection, connect } from './connect.ts';
import { hostOf } from './endpoint.ts';
import { CheckFailure, elapsed, type Run } from './run.ts';
import { askForTunnel } from './tunnel.ts';

/** How many addresses of a host a proxy is asked for, and as many of a family that is late. */
const ADDRESSES_MAX = 3;
/** How long a proxy may take for an address before it is asked for the next one beside it. */
const NEXT_ADDRESS_MS = 2_000;

/**
 * A connection to `host` through an HTTP proxy, by CONNECT. The policy decides about the proxy's
 * addresses and about those of `host`. The proxy is asked for an address that the policy has
 * admitted, not for the name: it could resolve that to another one.
 */
export async function connectThrough(
  run: Run,
  proxy: URL,
  auth: HeartbeatPayload<never>['proxy_auth'],
  host: string,
  port: number,
): Promise<Connection> {
  const { known, late } = await admittedAddresses(run, host);
  run.log(`Connects through the proxy ${proxy.host}.`);
  const asked: string[] = [];

  async function ask(address: string, open: Set<Socket>): Promise<Connection> {
    const target = shownHostAndPort({ host: address, port });
    const connection = await connect(run, hostOf(proxy), Number(proxy.port || 80));
    const { socket, peer } = connection;
    open.add(socket);
    asked.push(target);
    const started = performance.now();
    run.waitingFor = `the proxy ${peer} to connect to ${asked.join(' or ')}`;
    const { status, statusLine } = await askForTunnel(run, connection, target, auth).catch((failure) => {
      throw failure instanceof CheckFailure ? new Refusal(failure.message, undefined) : failure;
    });
    if (status < 200 || status >= 300) {
      socket.destroy();
      const answer = run.masked(statusLine);
      throw new Refusal(`The proxy ${peer} answered ${answer} to CONNECT ${target}.`, status);
    }
    open.delete(socket);
    run.log(`The proxy connected to ${target} in ${elapsed(started)}.`);
    return { socket, peer: `${target} (through the proxy ${peer})` };
  }
  return firstOf(run, { known, later: late && (() => admittedLater(run, host, late)) }, ask);
}

/** The proxy did not connect to an address. Without a status, it gave no answer. */
class Refusal extends Error {
  readonly status: number | undefined;
  constructor(message: string, status: number | undefined) {
    super(message);
    this.status = status;
  }
}

/** Asks for each address in turn, for the next one when the last was refused or is late. */
function firstOf(
  run: Run,
  { known, later }: { known: string[]; later: (() => Promise<string[]>) | undefined },
  ask: (address: string, open: Set<Socket>) => Promise<Connection>,
): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const refusals: Refusal[] = [];
    const open = new Set<Socket>();
    let waiting = known.slice(0, ADDRESSES_MAX);
    let coming = later;
    let asking = 0;
    let nextTimer: NodeJS.Timeout | undefined;
    const end = () => {
      clearTimeout(nextTimer);
      waiting = [];
      for (const socket of open) socket.destroy();
    };
    const next = () => {
      clearTimeout(nextTimer);
      const [address, ...rest] = waiting;
      if (address === undefined) {
        if (asking > 0) return;
        const wait = refusals.some(({ status }) => status === 407) ? undefined : coming;
        coming = undefined;
        if (wait === undefined) return reject(failureOf(refusals));
        void wait().then((addresses) => {
          waiting = addresses.slice(0, ADDRESSES_MAX);
          next();
        });
        return;
      }
      waiting = rest;
      asking += 1;
      nextTimer = setTimeout(next, NEXT_ADDRESS_MS);
      ask(address, open)
        .then((connection) => {
          end();
          resolve(connection);
        })
        .catch((error) => {
          asking -= 1;
          if (!(error instanceof Refusal)) {
            end();
            return reject(error); // the proxy itself is not reached
          }
          refusals.push(error);
          waiting = waiting.filter((other) => isWorthAsking(error, address, other));
          next();
        });
    };
    run.atEnd(end);
    next();
  });
}

/** A proxy that refuses with 4xx may refuse a family, but not an address of many. */
function isWorthAsking({ status }: Refusal, refused: string, other: string): boolean {
  if (status === 407) return false;
  return status === undefined || status >= 500 || net.isIP(refused) !== net.isIP(other);
}

function failureOf(refusals: Refusal[]): CheckFailure {
  const said = refusals.map(({ message }) => message.replace(/ 2xx was expected\.$/, '')).join(' ');
  const login = refusals.some(({ status }) => status === 407) ? ' It wants a login (proxy_auth).' : '';
  return new CheckFailure(`${said}${login} 2xx was expected.`);
}
