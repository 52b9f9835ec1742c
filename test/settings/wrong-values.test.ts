import { expect, test } from 'vitest';
import { parseSettings, SettingsError } from '../../platform/settings/parse.ts';
import { SETTINGS } from '../../platform/settings/settings.ts';

const WRONG = [
  ' ',
  ',',
  ',,',
  'x',
  '-1',
  '1.5',
  '1e9',
  '99999999999',
  '∞',
  'NaN',
  '{}',
  '[]',
  'null',
  '://',
  '*',
  '"',
  '\t',
  'a b',
  '/',
  '%',
];

test.each(Object.keys(SETTINGS))('a wrong %s is answered by a sentence of ours, with an example', (name) => {
  for (const text of WRONG) {
    let problems: string[] = [];
    try {
      parseSettings({ [name]: text });
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error;
      problems = error.problems;
    }
    for (const problem of problems) {
      expect(problem).toMatch(/^[A-Z]/);
      expect(problem, text).not.toMatch(
        /Invalid (input|string|option)|Expected|received|Unrecognized|Too (big|small)|undefined|\[object/,
      );
    }
  }
});
