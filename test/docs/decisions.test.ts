import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const FOLDER = 'docs/decisions';
const SECTIONS = ['Context', 'Decision', 'Consequences', 'What would change it'];

async function readPages(): Promise<{ file: string; text: string }[]> {
  const files = (await readdir(FOLDER)).filter((file) => file !== 'README.md').sort();
  return Promise.all(files.map(async (file) => ({ file, text: await readFile(join(FOLDER, file), 'utf8') })));
}

describe('docs/decisions', () => {
  test('numbers its pages without a gap, and each has the four sections', async () => {
    const pages = await readPages();
    expect(pages.length).toBeGreaterThan(0);
    for (const [index, { file, text }] of pages.entries()) {
      expect(file).toMatch(new RegExp(`^${String(index + 1).padStart(4, '0')}-[a-z0-9-]+\\.md$`));
      const sections = [...text.matchAll(/^## (.*)$/gm)].map(([, section]) => section);
      expect(sections, file).toEqual(SECTIONS);
    }
  });

  test('lists every page in the index, under its title', async () => {
    const index = (await readFile(join(FOLDER, 'README.md'), 'utf8')).replaceAll(/\n {2}/g, ' ');
    const listed = [...index.matchAll(/^- \[\d+\]\((.*?)\) (.*)$/gm)].map(([, file, title]) => ({ file, title }));
    const pages = await readPages();
    expect(listed).toEqual(pages.map(({ file, text }) => ({ file, title: /^# (.*)$/m.exec(text)?.[1] })));
  });
});
