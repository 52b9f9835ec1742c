#!/usr/bin/env node
import { existsSync } from 'node:fs';

const main = new URL('../dist/main.js', import.meta.url);
// Otherwise graphql looks at each value of an answer to find out whether it is loaded twice.
process.env.NODE_ENV ??= 'production';
process.setSourceMapsEnabled(true); // a stack names our sources, not the bundle
if (existsSync(main)) {
  await import(main.href);
} else {
  process.stderr.write('Chronoverse is not built yet: run npm run build, or npm start, which builds first.\n');
  process.exitCode = 2;
}
