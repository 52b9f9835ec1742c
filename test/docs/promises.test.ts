import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

/** The numbers in the first column of docs/promises.md. */
async function readPromises(): Promise<string[]> {
  const text = await readFile('docs/promises.md', 'utf8');
  return [...text.matchAll(/^\| (P\d+) \|/gm)].map(([, number]) => number ?? '');
}

/** Files of the quick run, which `npm test` runs (vitest.config.ts). */
const isQuick = (file: string) => !file.startsWith('faults/') && !file.endsWith('.long.test.ts');

/** The promise numbers at the start of test titles ("P1: ...", "P1, P4: ...") in these files. */
async function numbersInTests(matches: (file: string) => boolean = () => true): Promise<Set<string>> {
  const all = await readdir('test', { recursive: true });
  const files = all.filter((file) => file.endsWith('.test.ts') && matches(file));
  const texts = await Promise.all(files.map((file) => readFile(join('test', file), 'utf8')));
  const names = texts.flatMap((text) =>
    [...text.matchAll(/['"`]((?:P\d+(?:, )?)+): /g)].map(([, numbers]) => numbers ?? ''),
  );
  return new Set(names.flatMap((numbers) => numbers.split(', ')));
}

describe('docs/promises.md', () => {
  test('numbers the promises from 1 without a gap', async () => {
    const promises = await readPromises();
    expect(promises.length).toBeGreaterThan(0);
    expect(promises).toEqual(promises.map((_, index) => `P${index + 1}`));
  });

  test('has a test with the number of each promise, and no test has another number', async () => {
    expect([...(await numbersInTests())].sort()).toEqual((await readPromises()).sort());
  });

  test('has such a test in the quick run for each promise', async () => {
    expect([...(await numbersInTests(isQuick))].sort()).toEqual((await readPromises()).sort());
  });
});
