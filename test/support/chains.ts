import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate with its key, which may issue others. */
export interface Issued {
  name: string;
  cert: string;
  key: string;
}

export interface Wanted {
  /** Names of a server, as "DNS:good.test". Without any, the certificate is an authority's. */
  names?: string[];
  /** Days from now. */
  from?: number;
  to?: number;
  /** The certificate gets the key of this one, as in a cross-signed authority. */
  keyOf?: Issued;
  /** Replaces the extensions of an authority or a server. */
  extensions?: string[];
  key?: 'ec' | 'rsa:512';
  digest?: 'sha256' | 'sha1';
}

/** Makes certificates with any dates and extensions, in a folder of its own. */
export interface CertificateMaker {
  /** Without `issuer` the certificate signs itself. */
  issue(name: string, issuer: Issued | undefined, wanted?: Wanted): Issued;
  close(): Promise<void>;
}

const DAY_MS = 86_400_000;
const NEW_KEYS = {
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'rsa:512': ['-newkey', 'rsa:512'],
};

export async function certificateMaker(): Promise<CertificateMaker> {
  const folder = await mkdtemp(join(tmpdir(), 'chronoverse-chains-'));
  const at = (file: string) => join(folder, file);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  writeFileSync(at('index.txt'), '');
  writeFileSync(
    at('ca.cnf'),
    '[ca]\ndefault_ca = any\n[any]\ndatabase = index.txt\nnew_certs_dir = .\npolicy = policy\nunique_subject = no\nrand_serial = yes\n[policy]\ncommonName = supplied\n',
  );
  let count = 0;

  return {
    issue(name, issuer, wanted = {}) {
      const { names = [], from = -1, to = 30, keyOf, key = 'ec', digest = 'sha256' } = wanted;
      const authority = ['basicConstraints=critical,CA:TRUE', 'keyUsage=keyCertSign', 'subjectKeyIdentifier=hash'];
      const server = [`subjectAltName=${names.join(',')}`, 'subjectKeyIdentifier=hash'];
      const { extensions = names.length === 0 ? authority : server } = wanted;
      count += 1;
      const file = (kind: string) => `${count}.${kind}`;
      const newKey = keyOf === undefined ? [...NEW_KEYS[key], '-nodes', '-keyout'] : ['-key'];
      if (keyOf !== undefined) writeFileSync(at(file('key')), keyOf.key);
      openssl('req', '-new', '-subj', `/CN=${name}`, ...newKey, file('key'), '-out', file('csr'));
      writeFileSync(at(file('ext')), extensions.join('\n'));
      if (issuer !== undefined) {
        writeFileSync(at(file('issuer.pem')), issuer.cert);
        writeFileSync(at(file('issuer.key')), issuer.key);
      }
      const signer =
        issuer === undefined
          ? ['-selfsign', '-keyfile', file('key')]
          : ['-cert', file('issuer.pem'), '-keyfile', file('issuer.key')];
      const dates = ['-startdate', asn1(from), '-enddate', asn1(to)];
      const files = ['-in', file('csr'), '-out', file('pem'), '-extfile', file('ext')];
      openssl('ca', '-batch', '-notext', '-config', 'ca.cnf', '-md', digest, ...signer, ...dates, ...files);
      return { name, cert: readFileSync(at(file('pem')), 'utf8'), key: readFileSync(at(file('key')), 'utf8') };
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

/** The certificates of a server, as it sends them, with the key of the first. */
export function sending(...certificates: [Issued, ...Issued[]]): { cert: string; key: string } {
  return { cert: certificates.map(({ cert }) => cert).join(''), key: certificates[0].key };
}

function asn1(days: number): string {
  return `${new Date(Date.now() + days * DAY_MS).toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
}
