import { existsSync } from 'node:fs';

/**
 * The folder of this package: the nearest parent that contains package.json. It is the same for the
 * sources and for the bundle in dist/.
 */
export const PACKAGE_FOLDER = nearestPackage(new URL('./', import.meta.url));

function nearestPackage(folder: URL): URL {
  if (existsSync(new URL('package.json', folder)) || folder.pathname === '/') return folder;
  return nearestPackage(new URL('../', folder));
}
