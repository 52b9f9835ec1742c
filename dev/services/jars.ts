/**
 * Downloads the jars of the broker from a Maven repository into the cache, and checks each against
 * its sum in kafka-jars.txt.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheDir } from './state.ts';

const listFile = join(dirname(fileURLToPath(import.meta.url)), 'kafka-jars.txt');
const repository = (process.env.MAVEN_REPOSITORY || 'https://repo1.maven.org/maven2').replace(/\/+$/, '');
const DOWNLOADS_AT_ONCE = 8;
const DOWNLOAD_MS = 120_000;
const TRIES = 3;

interface Jar {
  sha256: string;
  path: string;
}

/** Returns the class path. */
export async function fetchJars(): Promise<string> {
  const jars = parse(await readFile(listFile, 'utf8'));
  const dir = join(cacheDir, 'kafka-jars');
  await mkdir(dir, { recursive: true });
  const waiting = [...jars];
  const worker = async () => {
    for (let jar = waiting.shift(); jar; jar = waiting.shift()) await fetchJar(jar, target(dir, jar));
  };
  await Promise.all(Array.from({ length: DOWNLOADS_AT_ONCE }, worker));
  return jars.map((jar) => target(dir, jar)).join(':');
}

function parse(list: string): Jar[] {
  return list
    .split('\n')
    .filter((line) => line && !line.startsWith('#'))
    .map((line) => {
      const [sha256, path] = line.split(' ');
      if (!sha256 || !path) throw new Error(`${listFile} has a line that is not "SHA-256 PATH": ${line}`);
      return { sha256, path };
    });
}

function target(dir: string, jar: Jar): string {
  return join(dir, basename(jar.path));
}

async function fetchJar(jar: Jar, file: string): Promise<void> {
  if (
    await readFile(file).then(
      (bytes) => sum(bytes) === jar.sha256,
      () => false,
    )
  )
    return;
  const bytes = await download(`${repository}/${jar.path}`);
  if (sum(bytes) !== jar.sha256) {
    throw new Error(
      `${repository}/${jar.path} is not the file that dev/services/kafka-jars.txt names: its SHA-256 differs.`,
    );
  }
  await writeFile(`${file}.${process.pid}`, bytes);
  await rename(`${file}.${process.pid}`, file);
}

async function download(url: string): Promise<Buffer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(DOWNLOAD_MS) });
      if (!response.ok) throw new Error(`status ${response.status}`);
      return Buffer.from(await response.arrayBuffer());
    } catch (error) {
      if (attempt === TRIES)
        throw new Error(`${url} cannot be fetched: ${reason(error)}. MAVEN_REPOSITORY names another.`);
    }
  }
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

function sum(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
