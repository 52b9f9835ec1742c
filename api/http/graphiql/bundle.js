// Bundles GraphiQL for browsers, compressed once and as far as it goes: that takes seconds, so only when something has changed.
import { createHash } from 'node:crypto';
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';
import { build } from 'esbuild';

const MANIFEST = 'graphiql.json';
const here = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Writes the script, the style sheet and a manifest that names them into `out`. Gives the names of all files. */
export async function bundleGraphiql(out) {
  const sources = (await readdir(here('.'))).filter((name) => /\.(js|css)$/.test(name)).sort();
  const hash = createHash('sha256');
  for (const source of [...sources, '../../../package-lock.json']) hash.update(await readFile(here(source)));
  const key = hash.digest('hex');
  const kept = await readManifest(out);
  if (kept?.key === key) return namesOf(kept);

  const { outputFiles } = await build({
    entryPoints: { graphiql: here('client.js') },
    entryNames: '[name]-[hash]', // a name stands for its content, so that browsers may keep it for good
    outdir: out,
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    target: 'es2022',
    define: { 'process.env.NODE_ENV': '"production"' },
    alias: { 'framer-motion': here('plain-tabs.js'), 'react-style-singleton': here('style-singleton.js') },
    plugins: [withoutFonts],
    legalComments: 'eof',
    logLevel: 'warning',
    write: false,
  });
  const manifest = { key };
  for (const { path, contents } of outputFiles) {
    await writeWhole(path, contents);
    await writeWhole(`${path}.gz`, await promisify(gzip)(contents, { level: 9 }));
    await writeWhole(`${path}.br`, await promisify(brotliCompress)(contents));
    manifest[path.endsWith('.js') ? 'script' : 'style'] = basename(path);
  }
  await writeWhole(join(out, MANIFEST), JSON.stringify(manifest));
  return namesOf(manifest);
}

/** The style sheet carries fonts of 270 KB; those of the browser do. */
const withoutFonts = {
  name: 'without-fonts',
  setup({ onLoad }) {
    onLoad({ filter: /graphiql[/\\]dist[/\\]style\.css$/ }, async ({ path }) => ({
      contents: (await readFile(path, 'utf8')).replaceAll(/@font-face\s*\{[^}]*\}/g, ''),
      loader: 'css',
    }));
  },
};

async function readManifest(out) {
  try {
    return JSON.parse(await readFile(join(out, MANIFEST), 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function namesOf({ script, style }) {
  return [MANIFEST, ...[script, style].flatMap((name) => [name, `${name}.gz`, `${name}.br`])];
}

/** Nobody reads half a file, and a build that runs at the same time writes the same. */
async function writeWhole(path, contents) {
  const draft = `${path}.${process.pid}.draft`;
  await writeFile(draft, contents);
  await rename(draft, path);
}
