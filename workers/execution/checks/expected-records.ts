import { domainToASCII } from 'node:url';
import { parseAddress } from '../../../domain/network/networks.ts';
import type { DnsRecordType } from '../../../domain/payload/heartbeat-schema.ts';

/**
 * The expected values that are not among the records. Case and a final dot make no difference in
 * names, nor does the way to write an address. An expected value may be the part of an MX, SRV, SOA
 * or CAA record that says who: the host, the primary server, the authority.
 */
export function missingOf(type: DnsRecordType | undefined, records: string[], expected: string[]): string[] {
  const known = new Set(records.flatMap((record) => formsOf(type, record)));
  return expected.filter((value) => !known.has(canonical(type, value)));
}

/** Which words of a record say who. */
const WHO: Partial<Record<DnsRecordType, number>> = { MX: 1, SRV: 3, SOA: 0 };

function formsOf(type: DnsRecordType | undefined, record: string): string[] {
  const forms = type === 'CAA' ? [record, authorityOf(record)] : [record, whoOf(type, record) ?? record];
  return forms.map((form) => canonical(type, form));
}

function whoOf(type: DnsRecordType | undefined, record: string): string | undefined {
  return type === undefined ? undefined : record.split(' ')[WHO[type] ?? Number.POSITIVE_INFINITY];
}

/** The authority in `0 issue "ca.example.net; account=230123"`, whose parameters say how. */
function authorityOf(record: string): string {
  const value = record.split(' ').slice(2).join(' ').replace(/^"|"$/g, '');
  return value.split(';')[0] ?? '';
}

function canonical(type: DnsRecordType | undefined, value: string): string {
  if (type === 'TXT') return value;
  const words = value.trim().toLowerCase().split(/\s+/);
  return words.map((word) => parseAddress(word)?.toString() ?? canonicalName(word)).join(' ');
}

/** The DNS has a name in ASCII. Other words stay as they are. */
function canonicalName(word: string): string {
  const ascii = /^[\x21-\x7e]*$/.test(word) ? word : domainToASCII(word) || word;
  return ascii.replace(/(?<=.)\.$/, '');
}
