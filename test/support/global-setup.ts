import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { migrate } from '../../db/migrate/migrate.ts';
import { startEmbeddedPostgres } from '../../platform/postgres/embedded.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A server on which tests may make databases. */
    adminUrl: string;
    /** The name of a migrated database that they clone. */
    template: string;
  }
}

/** One PostgreSQL for the whole run (DATABASE_URL's, or one of the run's own) with a migrated template database. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.DATABASE_URL;
  const own = given === undefined ? await startPostgres() : undefined;
  const adminUrl = given ?? own?.url ?? '';
  const template = `cvtest_template_${process.pid}`;
  const admin = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  await admin.unsafe(`CREATE DATABASE ${template}`);
  await migrate(withDatabase(adminUrl, template));
  project.provide('adminUrl', adminUrl);
  project.provide('template', template);

  return async () => {
    await admin.unsafe(`DROP DATABASE ${template} WITH (FORCE)`);
    await admin.end({ timeout: 5 });
    await own?.stop();
  };
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
