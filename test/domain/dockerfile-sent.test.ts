import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { type Dockerfile, readDockerfile } from '../../domain/dockerfile/dockerfile.ts';
import { printDockerfile } from '../../domain/dockerfile/print.ts';
import { buildEngineParser, type EngineReading } from './dockerfile-parser.ts';
import { hostileDockerfile } from './hostile-dockerfiles.ts';

const FILES = 10_000;
const SEED = Number(process.env.DOCKERFILE_SEED ?? Date.now() % 2 ** 31);
const ID = '0123456789abcdef'.repeat(4);
const LABELS = { 'chronoverse.image.workflow': 'x "\\' };

const given = fc.sample(hostileDockerfile(), { numRuns: FILES, seed: SEED });
const accepted = given.flatMap((text) => {
  const { dockerfile } = readDockerfile(text);
  return dockerfile === undefined ? [] : [{ text, dockerfile }];
});

/** The steps without their line numbers. */
const steps = ({ steps: all }: Dockerfile) => all.map(({ line: _, ...step }) => step);

describe(`of ${FILES} hostile Dockerfiles (DOCKERFILE_SEED=${SEED})`, () => {
  test('many are accepted and many are refused', () => {
    expect(accepted.length).toBeGreaterThan(FILES / 10);
    expect(accepted.length).toBeLessThan(FILES * 0.9);
  });

  test('what is sent to the engine has the meaning that was checked, in lines of printable characters', () => {
    for (const { text, dockerfile } of accepted) {
      const sent = printDockerfile(dockerfile);
      expect(sent.text, text).toMatch(/^(?:[A-Z]+ (?![ \t])(?:(?![\p{Cc}\p{Z}\uFEFF])[^\n]|[\t ])*[^\\ \t\n]\n)+$/u);
      const again = readDockerfile(sent.text).dockerfile;
      expect(again && steps(again), text).toEqual(steps(dockerfile));
    }
  });
});

const parser = buildEngineParser();
const missing = 'missing' in parser ? parser.missing : undefined;
describe.skipIf(missing !== undefined)(
  missing === undefined ? "the engine's own parser" : `the engine's own parser: needs Go and its modules (${missing})`,
  () => {
    const read = (texts: string[]): EngineReading[] => ('missing' in parser ? [] : parser.read(texts));
    afterAll(() => ('missing' in parser ? undefined : parser.close()));

    test('reads what is sent with the meaning that was checked', () => {
      const printed = accepted.map(({ dockerfile }) => printDockerfile(dockerfile, { labels: LABELS, idOf: () => ID }));
      const readings = read(printed.map(({ text }) => text));
      for (const [n, { text, dockerfile }] of accepted.entries()) {
        const reading = readings[n];
        const sent = printed[n]?.text ?? '';
        const note = JSON.stringify({ text, sent });
        expect(reading?.error, note).toBeUndefined();
        expect(reading, note).toMatchObject({ escape: '\\', syntax: '' });
        const found = reading?.instructions ?? [];
        expect(found.map(({ original }) => `${original}\n`).join(''), note).toBe(sent);
        expect(
          found.map(({ heredocs }) => heredocs),
          note,
        ).toEqual(found.map(() => 0));
        const ours = found.filter(({ original }) => !original.startsWith('LABEL chronoverse.image.workflow'));
        expect(
          ours.map(({ name }) => name),
          note,
        ).toEqual(dockerfile.steps.map(({ name }) => name));
        for (const [m, { name, source, flags, rest }] of dockerfile.steps.entries()) {
          const from = source && (source.kind === 'image' ? ID : source.name);
          const copies = name !== 'FROM' && from !== undefined ? [`--from=${from}`] : [];
          expect(ours[m]?.flags.toSorted(), note).toEqual(
            [...copies, ...[...flags].map(([flag, value]) => `--${flag}=${value}`)].toSorted(),
          );
          if (name === 'FROM') {
            const words = [from, ...(rest === '' ? [] : rest.split(' '))];
            expect(ours[m]?.words, note).toEqual(words);
          }
          if (name === 'RUN' && ours[m]?.isList === false) expect(ours[m]?.words, note).toEqual([rest]);
          if (reading?.refused === undefined) expect(ours[m]?.source, note).toBe(from ?? '');
          if (name === 'ADD') expect(ours[m]?.words.slice(0, -1).join(' '), note).not.toMatch(/:|^git@|[$"'\\]/);
        }
      }
    });

    test('reads the given file like what is sent', () => {
      const before = read(accepted.map(({ text }) => text));
      const after = read(accepted.map(({ dockerfile }) => printDockerfile(dockerfile).text));
      for (const [n, { text }] of accepted.entries()) expect(meaning(before[n]), text).toEqual(meaning(after[n]));
    });
  },
);

/** The instructions without parts that may be written in several ways. */
function meaning(reading: EngineReading | undefined) {
  const plain = (word: string) => word.toLowerCase().replace(/^(--from=)0+(?=\d)/, '$1');
  const instructions = reading?.instructions?.map(({ name, flags, words, isList, heredocs }) => ({
    name,
    flags: flags.map(plain).toSorted(),
    words: name === 'FROM' || name === 'HEALTHCHECK' ? words.map(plain) : words,
    isList,
    heredocs,
  }));
  return { instructions, escape: reading?.escape, error: reading?.error };
}
