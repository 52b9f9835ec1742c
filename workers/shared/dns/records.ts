import type { Resolver } from 'node:dns/promises';
import type { DnsRecordType } from '../../../domain/payload/heartbeat-schema.ts';

/**
 * The records of `name` as dig prints them: an MX record is "10 mail.example.com", a CAA record
 * "0 issue \"letsencrypt.org\"". Names have no final dot, except the root. The texts of a TXT
 * record are joined.
 */
export async function recordsOf(resolver: Resolver, name: string, type: DnsRecordType): Promise<string[]> {
  switch (type) {
    case 'A':
      return resolver.resolve4(name);
    case 'AAAA':
      return resolver.resolve6(name);
    case 'CAA':
      return (await resolver.resolveCaa(name)).flatMap(caa);
    case 'CNAME':
      return resolver.resolveCname(name);
    case 'MX':
      return (await resolver.resolveMx(name))
        .sort((one, other) => one.priority - other.priority)
        .map(({ priority, exchange }) => `${priority} ${exchange || ROOT}`);
    case 'NS':
      return resolver.resolveNs(name);
    case 'PTR':
      return resolver.resolvePtr(name);
    case 'SOA': {
      const { nsname, hostmaster, serial, refresh, retry, expire, minttl } = await resolver.resolveSoa(name);
      return [[nsname, hostmaster, serial, refresh, retry, expire, minttl].join(' ')];
    }
    case 'SRV':
      return (await resolver.resolveSrv(name)).map(
        (srv) => `${srv.priority} ${srv.weight} ${srv.port} ${srv.name || ROOT}`,
      );
    case 'TXT':
      return (await resolver.resolveTxt(name)).map((texts) => texts.join(''));
  }
}

/** An MX or SRV record with this name says that there is no such service. */
const ROOT = '.';

/**
 * Node gives the flags under the name `critical`, and the value under that of its tag. Node 24
 * gives the type of the record too.
 */
function caa({ critical, ...tags }: { critical: number }): string[] {
  return Object.entries(tags)
    .filter(([tag, value]) => tag !== 'type' && typeof value === 'string')
    .map(([tag, value]) => `${critical} ${tag} ${JSON.stringify(value)}`);
}
