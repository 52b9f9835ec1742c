import type { X509Certificate } from 'node:crypto';
import { TLS_REFUSALS } from '../../../domain/network/tls-advice.ts';
import { hasShortKey, issuerOf, isWeaklySigned, pathLengthOf, subjectOf, validityOf } from './certificate.ts';
import { type Chain, expiryOf } from './chain.ts';

const NAMES_LENGTH_MAX = 200;

/**
 * Why OpenSSL refuses the certificates, with the one at fault. Node gives a code and no
 * certificate: of `chains`, the first that shows such a fault is taken for the one that OpenSSL has
 * followed. `host` is the name that the server's own certificate should be for.
 */
export function refusalOf(code: string, chains: readonly Chain[], host: string): string {
  const faulty = chains.find((chain) => placeOf(code, chain) !== undefined) ?? chains[0];
  const all = faulty === undefined ? [] : allOf(faulty);
  const found = faulty && placeOf(code, faulty);
  const at = found?.at ?? 0;
  const certificate = all[at];
  if (certificate === undefined)
    return `it has shown no certificate (${code}). A certificate valid for ${host} was expected.`;
  const role = at === 0 ? '' : certificate.issuer === certificate.subject ? 'root ' : 'intermediate ';
  const why = found?.why ?? TLS_REFUSALS[code];
  const said = why === undefined ? code : `${why.replace('certificate', `${role}certificate`)} (${code})`;
  if (at === 0)
    return `${said}; that of ${described(certificate, certificate.subjectAltName ?? 'no name')}. A certificate valid for ${host} was expected.`;
  const [own] = all;
  const whose = own === undefined ? '' : ` The server's own certificate is that of ${subjectOf(own)}.`;
  return `${said}; that of ${described(certificate)}.${whose} Valid certificates up to a trusted authority were expected.`;
}

/** Whose it is, who issued it, for which names, and for which time. */
function described(certificate: X509Certificate, names?: string): string {
  const shortened =
    names !== undefined && names.length > NAMES_LENGTH_MAX ? `${names.slice(0, NAMES_LENGTH_MAX)}…` : names;
  const towards = shortened === undefined ? '' : ` for ${shortened}`;
  return `${subjectOf(certificate)}, issued by ${issuerOf(certificate)}${towards}, is ${validityOf(certificate)}`;
}

interface Place {
  at: number;
  /** In other words than those of the code. */
  why?: string;
}

function allOf({ certificates, anchor }: Chain): X509Certificate[] {
  return anchor === undefined || certificates.includes(anchor) ? certificates : [...certificates, anchor];
}

/** Which certificate has the fault, the server's own first. Undefined: none of them shows it. */
function placeOf(code: string, chain: Chain): Place | undefined {
  const all = allOf(chain);
  const first = (isFaulty: (certificate: X509Certificate, at: number) => boolean, why?: string): Place | undefined => {
    const at = all.findIndex(isFaulty);
    return at === -1 ? undefined : { at, ...(why === undefined ? {} : { why }) };
  };
  const last = { at: all.length - 1 };
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return first((one) => expiryOf(one) < Date.now());
    case 'CERT_NOT_YET_VALID':
      return first(({ validFrom }) => new Date(validFrom).getTime() > Date.now());
    case 'INVALID_CA':
      return first((one, at) => at > 0 && !one.ca);
    case 'INVALID_PURPOSE': // also said of an authority that is none
      return (
        first(({ keyUsage }) => keyUsage !== undefined && !keyUsage.some((use) => SERVER_USES.includes(use))) ??
        first((one, at) => at > 0 && !one.ca, TLS_REFUSALS.INVALID_CA)
      );
    case 'PATH_LENGTH_EXCEEDED':
      return first((one, at) => at > 0 && at - 1 > (pathLengthOf(one) ?? Number.POSITIVE_INFINITY));
    case 'CERT_SIGNATURE_FAILURE':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
      return chain.anchor === undefined ? last : undefined;
    case 'UNSPECIFIED':
      return (
        first((one, at) => all[at - 1]?.checkIssued(one) === false, TLS_REFUSALS.INVALID_CA) ??
        first((one) => hasShortKey(one), 'key of the certificate is too short to be safe') ??
        // Nobody checks how a root signs itself.
        first((one) => one.issuer !== one.subject && isWeaklySigned(one), 'certificate is signed with MD5 or SHA-1')
      );
    default:
      return undefined;
  }
}

/** Extended key usages that OpenSSL wants one of: servers, and those of old browsers. */
const SERVER_USES = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.4.1.311.10.3.3', '2.16.840.1.113730.4.1'];
