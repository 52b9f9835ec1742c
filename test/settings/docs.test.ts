import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { rangeOf, type Setting } from '../../platform/settings/setting.ts';
import { SETTINGS } from '../../platform/settings/settings.ts';

interface Row {
  default: string;
  range: string;
  means: string;
  example: string;
}

function rowOf(setting: Setting<unknown>): Row {
  return {
    default: setting.defaultMeans ?? (setting.default ? `\`${setting.default}\`` : 'empty'),
    range: rangeOf(setting) ?? '',
    means: setting.means,
    example: `\`${setting.example}\``,
  };
}

/** The rows of the table by the name in their first cell. */
async function readTable(): Promise<Record<string, Row>> {
  const text = await readFile('docs/operate/settings.md', 'utf8');
  const rows = [...text.matchAll(/^\| `([A-Z_]+)` \| (.*) \| (.*) \| (.*) \| (.*) \|$/gm)];
  return Object.fromEntries(
    rows.map(([, name, ...cells]) => [
      name,
      { default: cells[0] ?? '', range: cells[1] ?? '', means: cells[2] ?? '', example: cells[3] ?? '' },
    ]),
  );
}

describe('docs/operate/settings.md', () => {
  test('has a row for each setting of the code, word for word, and no other', async () => {
    const code = Object.fromEntries(
      Object.entries<Setting<unknown>>(SETTINGS).map(([name, own]) => [name, rowOf(own)]),
    );
    expect(await readTable()).toEqual(code);
  });

  test('has the order of the code, which is that of --help', async () => {
    expect(Object.keys(await readTable())).toEqual(Object.keys(SETTINGS));
  });
});
