import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  cert: string;
  key: string;
  /** Files with the same content. */
  certFile: string;
  keyFile: string;
}

/** A certificate authority for one test, made with openssl in its own folder. */
export interface Authority {
  folder: string;
  ca: string;
  caFile: string;
  /**
   * Issues a certificate for `names` ("DNS:localhost", "IP:127.0.0.1") that is valid for `days`
   * days. With -1 it has already expired.
   */
  issue(name: string, names: string[], days?: number): Certificate;
  close(): Promise<void>;
}

export async function makeAuthority(title = 'Test authority'): Promise<Authority> {
  const folder = await mkdtemp(join(tmpdir(), 'chronoverse-authority-'));
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const at = (file: string) => join(folder, file);
  openssl('req', '-x509', ...newKey, '-days', '2', '-subj', `/CN=${title}`, '-keyout', 'ca.key', '-out', 'ca.pem');
  return {
    folder,
    ca: readFileSync(at('ca.pem'), 'utf8'),
    caFile: at('ca.pem'),
    issue(name, names, days = 2) {
      const [keyFile, request, certFile] = [`${name}.key`, `${name}.csr`, `${name}.pem`];
      openssl(
        'req',
        ...newKey,
        '-subj',
        `/CN=${name}`,
        '-addext',
        `subjectAltName=${names.join(',')}`,
        '-keyout',
        keyFile,
        '-out',
        request,
      );
      openssl(
        'x509',
        '-req',
        '-in',
        request,
        '-CA',
        'ca.pem',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-days',
        String(days),
        '-copy_extensions',
        'copy',
        '-out',
        certFile,
      );
      return {
        cert: readFileSync(at(certFile), 'utf8'),
        key: readFileSync(at(keyFile), 'utf8'),
        certFile: at(certFile),
        keyFile: at(keyFile),
      };
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Writes a file into the authority's folder. */
export async function fileIn({ folder }: Authority, name: string, content: string): Promise<string> {
  await writeFile(join(folder, name), content, { mode: 0o600 });
  return join(folder, name);
}
