import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { z } from 'zod';
import { migrate } from '../../db/migrate/migrate.ts';
import { startEmbeddedPostgres } from '../../platform/postgres/embedded.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A server on which tests may create databases. */
    adminUrl: string;
    /** The name of a migrated database that tests clone. */
    template: string;
    /**
     * A file that lists what this machine lacks: for each part a line of JSON with what is left
     * untested without it.
     */
    missingParts: string;
  }
}

/**
 * Starts one PostgreSQL for the whole run, or uses that of DATABASE_URL, and makes a migrated
 * template database. At the end it lists the missing parts and what each leaves untested.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.DATABASE_URL;
  const own = given === undefined ? await startPostgres() : undefined;
  const adminUrl = given ?? own?.url ?? '';
  const template = `cvtest_template_${process.pid}_${project.name}`;
  const admin = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  await admin.unsafe(`CREATE DATABASE ${template}`);
  await migrate(withDatabase(adminUrl, template));
  project.provide('adminUrl', adminUrl);
  project.provide('template', template);
  const folder = await mkdtemp(join(tmpdir(), 'chronoverse-missing-'));
  const missingParts = join(folder, 'missing.jsonl');
  await writeFile(missingParts, '');
  project.provide('missingParts', missingParts);

  return async () => {
    await admin.unsafe(`DROP DATABASE ${template} WITH (FORCE)`);
    await admin.end({ timeout: 5 });
    await own?.stop();
    console.info(describeMissing(await readFile(missingParts, 'utf8')));
    await rm(folder, { recursive: true });
  };
}

const missing = z.tuple([z.string(), z.string()]);

/** A line for each missing part with everything that it leaves untested. */
function describeMissing(lines: string): string {
  const untestedOf = new Map<string, Set<string>>();
  for (const line of lines.split('\n').slice(0, -1)) {
    const [what, untested] = missing.parse(JSON.parse(line));
    untestedOf.set(what, (untestedOf.get(what) ?? new Set()).add(untested));
  }
  if (untestedOf.size === 0) return 'No part was missing: nothing was left untested for lack of one.';
  const described = [...untestedOf].map(([what, untested]) => `- ${what}: ${[...untested].sort().join('; ')}`);
  return ['Missing parts, and what each leaves untested:', ...described.sort()].join('\n');
}

export function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
}

async function startPostgres(): Promise<{ url: string; stop: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'chronoverse-test-'));
  const server = await startEmbeddedPostgres({
    folder: join(folder, 'postgres'),
    password: 'test',
    log: pino({ level: 'warn' }),
    onLost: (error) => {
      throw error;
    },
  });
  return {
    url: server.url,
    stop: async () => {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
