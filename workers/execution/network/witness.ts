import net, { type LookupFunction } from 'node:net';
import type { HostAndPort } from '../../../domain/network/host-port.ts';
import type { Names } from '../../shared/dns/names.ts';

const WAIT_MS = 3_000;
/** A link by satellite takes 700 ms. */
const ADDRESS_MS = 1_000;

/** Whether `witness` accepts a connection within three seconds. */
export function accepts({ host, port }: HostAndPort, names: Names): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({
      host,
      port,
      lookup: lookupBy(names),
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: ADDRESS_MS,
    });
    const timer = setTimeout(() => socket.destroy(), WAIT_MS);
    socket.once('connect', () => {
      resolve(true);
      socket.destroy();
    });
    socket.on('error', () => undefined); // and closes
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(false);
    });
  });
}

/** As the checks resolve names, and not through the C library: see Names. */
function lookupBy(names: Names): LookupFunction {
  return (host, _, done) => {
    names
      .resolve(host, () => undefined)
      .then(
        (addresses) =>
          done(
            null,
            addresses.map((address) => ({ address, family: net.isIP(address) })),
          ),
        (error) => done(error, []),
      );
  };
}
