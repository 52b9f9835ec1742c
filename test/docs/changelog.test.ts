import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { z } from 'zod';

const Package = z.object({ version: z.string(), scripts: z.record(z.string(), z.string()) });
const readPackage = async () => Package.parse(JSON.parse(await readFile('package.json', 'utf8')));

test('the changelog begins with unreleased changes, followed by the version of package.json', async () => {
  const headings = [...(await readFile('CHANGELOG.md', 'utf8')).matchAll(/^## \[(.*?)\](?: - (.*))?$/gm)];
  const [unreleased, newest] = headings.map(([, version, date]) => ({ version, date }));
  expect(unreleased).toEqual({ version: 'Unreleased', date: undefined });
  expect(newest).toEqual({
    version: (await readPackage()).version,
    date: expect.stringMatching(/^\d{4}-\d{2}-\d{2}$/),
  });
});

test('the documents and the CI workflow only run npm scripts that exist', async () => {
  const { scripts } = await readPackage();
  for (const file of ['README.md', 'CONTRIBUTING.md', '.github/workflows/ci.yml']) {
    const text = await readFile(file, 'utf8');
    const named = [...text.matchAll(/\bnpm run (?:--silent )?([\w:-]+)/g)].map(([, script]) => script ?? '');
    expect(named.length, file).toBeGreaterThan(0);
    expect(
      named.filter((script) => !(script in scripts)),
      file,
    ).toEqual([]);
  }
});
