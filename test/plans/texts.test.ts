import { readdir, readFile } from 'node:fs/promises';
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { runScenario } from './scenario.ts';
import { readsOf } from './scenario-reads.ts';
import type { Drive } from './scenario-rows.ts';
import { modulesByFunction, nameOf, writtenStatements } from './statements.ts';
import { layOut } from './text-layout.ts';

/**
 * What db/ sends, as it is sent: a file of SQL for each module, by the functions that send it. To
 * write them anew after a change: npx vitest run test/plans/texts.test.ts -u
 */
const FOLDER = new URL('queries/', import.meta.url);

/** Statements by the name that they bear, or else by the function that the scenario has called. */
const texts = new Map<string, Set<string>>();
let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
  let called = '';
  const logQuery = (text: string) => {
    if (called === '' || !/^\s*\(?(SELECT|INSERT|UPDATE|DELETE|WITH)\b/i.test(text)) return;
    const name = nameOf(text) ?? called;
    texts.set(name, (texts.get(name) ?? new Set()).add(layOut(text)));
  };
  const client = postgres(database.url, { max: 5, connection: { TimeZone: 'UTC' }, onnotice: () => undefined });
  const drive: Drive = async (verb, ...given) => {
    called = verb.name;
    try {
      return await verb(...given);
    } finally {
      called = '';
    }
  };
  const db = drizzle(client, { logger: { logQuery } });
  await readsOf(db, drive, await runScenario(db, drive));
  await client.end();
});
afterAll(() => database.close());

test('the text of every statement is the one that is checked in', async () => {
  const modules = await modulesByFunction();
  const files = new Map<string, string[]>();
  for (const [name, statements] of [...texts].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const [module = '', ...others] = modules.get(name) ?? [];
    expect(others, `functions of the name ${name}`).toEqual([]); // a name says which one sends it
    const written = [...statements].toSorted().map((text) => `${text};`);
    files.set(module, [...(files.get(module) ?? []), `-- ${name}`, ...written]);
  }
  expect(files.has('')).toBe(false); // each name is that of a function
  for (const [module, statements] of files) {
    const content = `-- db/${module}\n\n${statements.join('\n\n')}\n`;
    await expect.soft(content).toMatchFileSnapshot(new URL(module.replace(/\.ts$/, '.sql'), FOLDER).pathname);
  }
  const known = [...files.keys()].map((module) => module.replace(/\.ts$/, '.sql')).toSorted();
  const present = (await readdir(FOLDER, { recursive: true })).filter((path) => path.endsWith('.sql'));
  expect(present.toSorted()).toEqual(known); // a file of a module that is gone is removed by hand
});

test('every statement that is written out bears the name of the function that sends it', async () => {
  const written = await writtenStatements();
  expect(written.length).toBeGreaterThan(80);
  const isExempt = (module: string) => module.startsWith('migrate/') || module === 'client.ts';
  const wrong = written.filter(({ module, name, writtenIn }) => !isExempt(module) && name !== writtenIn);
  expect(wrong).toEqual([]);
});

test('no statement stands outside db/', async () => {
  const outside: string[] = [];
  for (const folder of ['api', 'bin', 'domain', 'platform', 'workers'])
    for (const path of await readdir(new URL(`../../${folder}/`, import.meta.url), { recursive: true })) {
      if (!path.endsWith('.ts')) continue;
      const text = await readFile(new URL(`../../${folder}/${path}`, import.meta.url), 'utf8');
      // The linter refuses the libraries; a string or a text of SQL could still go to the `Db` that
      // was passed.
      if (/\.(execute|unsafe)\(\s*['"`]|\bsql`/.test(text)) outside.push(`${folder}/${path}`);
    }
  expect(outside).toEqual([]);
});

/** Every request and every pass of a worker sends some of these. */
const HOT = [
  ...[
    'claimJobs',
    'claimBuilds',
    'endUncounted',
    'endCounted',
    'enterTurns',
    'takeTurn',
    'queueDueSlots',
    'nextWakeMs',
  ],
  ...[
    'renewLeases',
    'returnJobs',
    'readSchedules',
    'wakeWaiting',
    'insertChunks',
    'settleMarkers',
    'notify',
    'rollUpTotals',
  ],
  ...[
    'chunksAfter',
    'chunksBefore',
    'lastLogNumber',
    'listJobs',
    'listWorkflows',
    'listJobsByWorkflow',
    'listNotifications',
  ],
  ...[
    'findIdentities',
    'findValidTokens',
    'workflowsOf',
    'jobsOf',
    'buildsOf',
    'anyWorkflows',
    'anyJobs',
    'jobsToRecheck',
  ],
];

test('every hot statement of the query builder bears a name too', () => {
  const nameless = HOT.filter((name) => ![...(texts.get(name) ?? [])].some((text) => text.includes(`/* ${name} */`)));
  expect(nameless).toEqual([]);
});
