import { readdir, readFile } from 'node:fs/promises';
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { runScenario } from './scenario.ts';
import { readsOf } from './scenario-reads.ts';
import type { Drive } from './scenario-rows.ts';
import { asKept, modulesByFunction, nameOf, writtenStatements } from './statements.ts';
import { layOut } from './text-layout.ts';

/**
 * The statements of db/ as they are sent: one SQL file for each module, by the functions that send
 * them. To write them again after a change: npx vitest run test/plans/texts.test.ts -u
 */
const FOLDER = new URL('queries/', import.meta.url);

/** The statements by their name, or else by the function that the scenario called. */
const texts = new Map<string, Set<string>>();
let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
  let called = '';
  const logQuery = (text: string) => {
    if (called === '' || !/^\s*\(?(SELECT|INSERT|UPDATE|DELETE|WITH)\b/i.test(text)) return;
    const name = nameOf(text) ?? called;
    texts.set(name, (texts.get(name) ?? new Set()).add(layOut(onSomeDay(asKept(text)))));
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

/** The text as if it were sent on another day. */
function onSomeDay(text: string): string {
  return text
    .replace(/\bjobs_\d{8}\b/g, 'jobs_20261129')
    .replace(/'[0-9a-f]{8}(-0000-0000|-[0-9a-f]{4}-0000)-0000-0{12}'/g, "'019acd55-0000-0000-0000-000000000000'");
}

test('the text of every statement is the one that is checked in', async () => {
  const modules = await modulesByFunction();
  const files = new Map<string, string[]>();
  for (const [name, statements] of [...texts].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const [module = '', ...others] = modules.get(name) ?? [];
    expect(others, `functions of the name ${name}`).toEqual([]); // a name identifies one function
    const written = [...statements].toSorted().map((text) => `${text};`);
    files.set(module, [...(files.get(module) ?? []), `-- ${name}`, ...written]);
  }
  expect(files.has('')).toBe(false); // each name is the name of a function
  for (const [module, statements] of files) {
    const content = `-- db/${module}\n\n${statements.join('\n\n')}\n`;
    await expect.soft(content).toMatchFileSnapshot(new URL(module.replace(/\.ts$/, '.sql'), FOLDER).pathname);
  }
  const known = [...files.keys()].map((module) => module.replace(/\.ts$/, '.sql')).toSorted();
  const present = (await readdir(FOLDER, { recursive: true })).filter((path) => path.endsWith('.sql'));
  expect(present.toSorted()).toEqual(known); // files of removed modules must be deleted by hand
});

test('no statement looks for jobs in all days: each names the partitions that it reads or locks', () => {
  const inAll = [...texts].flatMap(([name, statements]) =>
    [...statements]
      .filter((text) => /\b(FROM|JOIN|UPDATE|USING|ONLY)\s+"?jobs"?(?![_"\w])/i.test(text))
      .map(() => name),
  );
  expect([...new Set(inAll)]).toEqual([]);
});

test('every statement in SQL text has the name of the function that sends it', async () => {
  const written = await writtenStatements();
  expect(written.length).toBeGreaterThan(80);
  const isExempt = (module: string) =>
    module.startsWith('migrate/') || module.startsWith('backup/') || module === 'client.ts';
  const wrong = written.filter(({ module, name, writtenIn }) => !isExempt(module) && name !== writtenIn);
  expect(wrong).toEqual([]);
});

test('there is no statement outside db/', async () => {
  const outside: string[] = [];
  for (const folder of ['api', 'bin', 'domain', 'platform', 'workers'])
    for (const path of await readdir(new URL(`../../${folder}/`, import.meta.url), { recursive: true })) {
      if (!path.endsWith('.ts')) continue;
      const text = await readFile(new URL(`../../${folder}/${path}`, import.meta.url), 'utf8');
      // The linter forbids the libraries, but a string or SQL text could still go to the given
      // `Db`.
      if (/\.(execute|unsafe)\(\s*['"`]|\bsql`/.test(text)) outside.push(`${folder}/${path}`);
    }
  expect(outside).toEqual([]);
});

/** The statements that every request or every pass of a worker may send. */
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
    'chunksOfLogs',
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

test('every hot statement of the query builder has a name too', () => {
  const nameless = HOT.filter((name) => ![...(texts.get(name) ?? [])].some((text) => text.includes(`/* ${name} */`)));
  expect(nameless).toEqual([]);
});
