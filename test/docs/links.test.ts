import { access, readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';

const documents = async () => [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...(await readdir('docs', { recursive: true }))
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file)),
];

async function missing(paths: string[]): Promise<string[]> {
  const found = await Promise.all(
    paths.map((path) =>
      access(path).then(
        () => [],
        () => [path],
      ),
    ),
  );
  return found.flat();
}

describe('the documents', () => {
  test('link only to files that exist', async () => {
    for (const document of await documents()) {
      const links = [...(await readFile(document, 'utf8')).matchAll(/\]\((?!https?:|#)([^)#]+)/g)];
      expect(await missing(links.map(([, link]) => join(dirname(document), link ?? ''))), document).toEqual([]);
    }
  });

  test('name only sources that exist', async () => {
    for (const document of await documents()) {
      const sources = [
        ...(await readFile(document, 'utf8')).matchAll(/\b(?:api|bin|db|domain|platform|workers)\/[\w/-]+\.ts\b/g),
      ];
      expect(await missing(sources.map(([source]) => source)), document).toEqual([]);
    }
  });
});
