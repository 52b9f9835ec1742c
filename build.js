// Bundles our own sources into dist/ in a fraction of a second, so that every command can rebuild before it runs and
// no process ever runs stale code. Types are `npm run check`'s business.
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { build } from 'esbuild';
import { bundleGraphiql } from './api/http/graphiql/bundle.js';

const OUT = 'dist';
const KEPT_DAYS = 7;

// Split at the lazy imports, so that a process loads only what its command needs (--version: 0.1 s instead of 0.9). Every
// file lies in dist/ itself: what is found by import.meta.url is found from there.
const { outputFiles } = await build({
  entryPoints: ['bin/main.ts'],
  outdir: OUT,
  bundle: true,
  splitting: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: true,
  logLevel: 'warning',
  write: false,
});

// Renamed into place, main.js last: two commands that build at once, or one that starts meanwhile, never see half a build.
await mkdir(OUT, { recursive: true });
const graphiql = await bundleGraphiql(OUT);
const isMain = (path) => basename(path).startsWith('main.js');
for (const { path, contents } of outputFiles.sort((a, b) => isMain(a.path) - isMain(b.path))) {
  const draft = join(OUT, `.${basename(path)}.${process.pid}`);
  await writeFile(draft, contents);
  await rename(draft, path);
}

// The parts of earlier builds stay a while: a process that was started from one still loads from it.
const current = new Set([...outputFiles.map(({ path }) => basename(path)), ...graphiql]);
for (const name of (await readdir(OUT)).filter((name) => !current.has(name))) {
  const path = join(OUT, name);
  const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() })); // removed by another build
  if (Date.now() - mtimeMs > KEPT_DAYS * 86_400_000) await rm(path, { force: true });
}
