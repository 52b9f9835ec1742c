import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { reportMissing } from '../support/parts.ts';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/**
 * The path of a Chromium, or undefined if there is none. `untested` says what is then left
 * untested.
 */
export function findChromium(untested: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(':');
  const found = folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find(isProgram);
  if (found === undefined) reportMissing('Chromium', untested);
  return found;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // not in this folder
  }
}
