import type { X509Certificate } from 'node:crypto';

/** How a server's certificate leads to a trusted one. */
export interface Chain {
  /** The server's own certificate first, then the intermediate ones. */
  certificates: X509Certificate[];
  /** The trusted certificate at its end. Undefined when the chain leads to none. */
  anchor: X509Certificate | undefined;
}

/** Finds trusted certificates by the name of their subject. */
export type FindTrusted = (subject: string) => readonly X509Certificate[];

/**
 * A server may send any certificates. What it costs to find a chain among them is bounded: the
 * certificates that are looked at, the length of a chain, the steps, and the signatures checked.
 */
const SENT_MAX = 20;
const LENGTH_MAX = 10;
const STEPS_MAX = 500;
const SIGNATURES_MAX = 60;

/**
 * The chains that `sent` and the trusted certificates allow, the best one first. Node tells only
 * the certificates that were sent, not the chain that OpenSSL found.
 *
 * One that ends at a trusted certificate is better than one that does not. Then one that can be
 * right now is better than one that cannot, and one that stays valid for longer is better than
 * another. So a certificate that no valid chain needs does not count, such as the expired end of a
 * cross-signed chain whose beginning is trusted by itself.
 */
export function chainsOf(sent: readonly X509Certificate[], findTrusted: FindTrusted): Chain[] {
  const [leaf, ...others] = sent.slice(0, SENT_MAX);
  if (leaf === undefined) return [];
  const isIssuer = issuerTest();
  const chains: Chain[] = [];
  let steps = 0;

  function follow(certificates: X509Certificate[], last: X509Certificate): void {
    steps += 1;
    if (steps > STEPS_MAX) return;
    const trusted = findTrusted(last.issuer).filter((candidate) => isIssuer(last, candidate));
    for (const anchor of trusted) {
      // The server may have sent the root too.
      const itself = certificates.length > 1 && isSame(anchor, last);
      chains.push({ certificates: itself ? certificates.slice(0, -1) : certificates, anchor });
    }
    const next = others.filter(
      (candidate) => !certificates.some((one) => isSame(one, candidate)) && isIssuer(last, candidate),
    );
    if (next.length === 0 && trusted.length === 0) chains.push({ certificates, anchor: undefined });
    if (certificates.length === LENGTH_MAX) return;
    for (const one of next) follow([...certificates, one], one);
  }

  // A payload may trust the server's own certificate itself.
  if (findTrusted(leaf.subject).some((one) => isSame(one, leaf))) chains.push({ certificates: [leaf], anchor: leaf });
  follow([leaf], leaf);
  return chains.length === 0 ? [{ certificates: [leaf], anchor: undefined }] : sorted(chains);
}

/** Whether a certificate has been issued by another, as far as name and signature say. */
function issuerTest(): (certificate: X509Certificate, issuer: X509Certificate) => boolean {
  const known = new Map<X509Certificate, Map<X509Certificate, boolean>>();
  let checked = 0;
  return (certificate, issuer) => {
    if (certificate.issuer !== issuer.subject) return false;
    const answers = known.get(certificate) ?? new Map<X509Certificate, boolean>();
    known.set(certificate, answers);
    let answer = answers.get(issuer);
    if (answer === undefined) {
      checked += 1;
      answer = checked <= SIGNATURES_MAX && isSignedBy(certificate, issuer);
      answers.set(issuer, answer);
    }
    return answer;
  };
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.verify(issuer.publicKey);
  } catch {
    return false; // a key of a kind that OpenSSL does not know
  }
}

/** The better ones first. Each is looked at once: what a certificate says takes long to read. */
function sorted(chains: Chain[]): Chain[] {
  return chains
    .map((chain) => ({ chain, worth: worthOf(chain) }))
    .sort((one, other) => compared(other.worth, one.worth))
    .map(({ chain }) => chain);
}

/** What makes a chain better, the most important first. */
function worthOf(chain: Chain): number[] {
  const { certificates, anchor } = chain;
  if (anchor === undefined) return [0, certificates.length];
  return [1, canBeRight(chain) ? 1 : 0, soonestEnd(chain), expiryOf(anchor)];
}

function compared(one: number[], other: number[]): number {
  const at = one.findIndex((part, n) => part !== other[n]);
  return at === -1 ? 0 : (one[at] ?? 0) > (other[at] ?? 0) ? 1 : -1;
}

/** Whether all of a chain is valid now, and each that issues is an authority's. */
function canBeRight({ certificates, anchor }: Chain): boolean {
  const now = Date.now();
  const all = anchor === undefined ? certificates : [...certificates, anchor];
  return (
    certificates.slice(1).every(({ ca }) => ca) &&
    all.every((one) => new Date(one.validFrom).getTime() <= now && now <= expiryOf(one))
  );
}

/** The certificate of the chain that expires first. Its trusted end does not count. */
export function soonestOf({ certificates: [own, ...others] }: Chain): X509Certificate | undefined {
  if (own === undefined) return undefined;
  return others.reduce((soonest, one) => (expiryOf(one) < expiryOf(soonest) ? one : soonest), own);
}

function soonestEnd(chain: Chain): number {
  const soonest = soonestOf(chain);
  return soonest === undefined ? Number.NEGATIVE_INFINITY : expiryOf(soonest);
}

/** In milliseconds. An end that cannot be read must not pass for a late one. */
export function expiryOf({ validTo }: X509Certificate): number {
  const end = new Date(validTo).getTime();
  return Number.isNaN(end) ? Number.NEGATIVE_INFINITY : end;
}

function isSame(one: X509Certificate, other: X509Certificate): boolean {
  return one.raw.equals(other.raw);
}
