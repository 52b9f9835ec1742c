import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

const instruction = z.object({
  name: z.string(),
  flags: z.array(z.string()),
  words: z.array(z.string()),
  isList: z.boolean(),
  original: z.string(),
  heredocs: z.number(),
  source: z.string(),
  stage: z.string(),
  paths: z.array(z.string()).nullable(),
});
const answer = z.object({
  instructions: z.array(instruction).nullable(),
  escape: z.string(),
  syntax: z.string(),
  error: z.string().optional(),
  refused: z.string().optional(),
});
export type EngineReading = z.infer<typeof answer>;

const SOURCE = join(import.meta.dirname, 'dockerfile-parser');
const BUILD_MS = 240_000;
const OUTPUT_BYTES_MAX = 256 * 1024 * 1024;

export interface EngineParser {
  read(texts: string[]): EngineReading[];
  close(): void;
}

/** Builds the engine's own parser with Go, or says why that is not possible. */
export function buildEngineParser(): EngineParser | { missing: string } {
  const folder = mkdtempSync(join(tmpdir(), 'chronoverse-parser-'));
  cpSync(SOURCE, folder, { recursive: true });
  const binary = join(folder, 'parser');
  const env = {
    ...process.env,
    PATH: `${process.env.PATH ?? ''}:/usr/local/go/bin`,
    GOFLAGS: '-mod=readonly -buildvcs=false',
    GOTOOLCHAIN: 'local',
    CGO_ENABLED: '0',
  };
  const built = spawnSync('go', ['build', '-o', binary, '.'], {
    cwd: folder,
    env,
    timeout: BUILD_MS,
    encoding: 'utf8',
  });
  const close = () => rmSync(folder, { recursive: true, force: true });
  if (built.status !== 0) {
    close();
    return { missing: built.error?.message ?? built.stderr.trim().split('\n').at(-1) ?? 'go build failed' };
  }
  return {
    read(texts) {
      const input = texts.map((text) => `${JSON.stringify(text)}\n`).join('');
      const run = spawnSync(binary, { input, maxBuffer: OUTPUT_BYTES_MAX, encoding: 'utf8' });
      if (run.status !== 0) throw new Error(`The parser ended: ${run.stderr.slice(0, 2_000)}`);
      return run.stdout
        .trimEnd()
        .split('\n')
        .map((line) => answer.parse(JSON.parse(line)));
    },
    close,
  };
}
