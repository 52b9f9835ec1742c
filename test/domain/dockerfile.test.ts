import { describe, expect, test } from 'vitest';
import { imagesOf, readDockerfile, triggersProblem } from '../../domain/dockerfile/dockerfile.ts';
import { printDockerfile } from '../../domain/dockerfile/print.ts';

const NBSP = '\u00A0';
const BACKTICK_DIRECTIVE = `#${NBSP}escape=\``;

function sent(given: string, options?: Parameters<typeof printDockerfile>[1]) {
  const { dockerfile, problems } = readDockerfile(given);
  if (dockerfile === undefined) throw new Error(problems.join('\n'));
  return printDockerfile(dockerfile, options);
}

describe('the Dockerfile that the engine gets', () => {
  test('has one instruction per line, without comments, continuations and directives', () => {
    const given = [
      '\uFEFF# syntax=docker/dockerfile:1',
      '# escape=\\',
      '  from --platform=linux/amd64 golang:1.22 \\',
      '# in between',
      '',
      '  AS Make',
      'RUN apt-get update && \\\r',
      '    # indented',
      '\tapt-get install x',
      'healthcheck   --interval=5s   cmd ["a",  "\\u00a0\\n"]',
      'HEALTHCHECK none',
      'RUN [ "$A" = b ] && echo $((1<<2)) <<<x',
      'FROM scratch',
      'copy --from=MAKE --chown=1:1\t/a   /b',
      'COPY --from=00 /a /b',
      'ADD ["a b", "/ü"]',
      'ENV A="b  c" \\ ',
      '  D=\\"',
      'RUN true \\',
    ].join('\n');
    expect(sent(given).lines).toEqual([
      'FROM --platform=linux/amd64 golang:1.22 AS make',
      'RUN apt-get update && \tapt-get install x',
      'HEALTHCHECK --interval=5s CMD ["a", "\\u00a0\\n"]',
      'HEALTHCHECK NONE',
      'RUN [ "$A" = b ] && echo $((1<<2)) <<<x',
      'FROM scratch',
      'COPY --from=make --chown=1:1 /a /b',
      'COPY --from=0 /a /b',
      'ADD ["a b", "/\\u00fc"]',
      'ENV A="b  c"   D=\\"',
      'RUN true',
    ]);
  });

  test('names images by id and labels each stage; errors name the lines of the given file', () => {
    const given = [
      '# why',
      'ARG V=1',
      'FROM a:1 \\',
      '  AS made',
      'RUN $V',
      'from scratch',
      'COPY --from=b:1 / /',
    ].join('\n');
    const { text, lines, originalLine } = sent(given, {
      labels: { one: '1', two: '"2"' },
      idOf: (image) => `<${image}>`,
    });
    const label = 'LABEL one="1" two="\\"2\\""';
    expect(text.split('\n')).toEqual([
      'ARG V=1',
      'FROM <a:1> AS made',
      label,
      'RUN $V',
      'FROM scratch',
      label,
      'COPY --from=<b:1> / /',
      '',
    ]);
    expect(lines).toEqual(text.replaceAll(/[<>]/g, '').trimEnd().split('\n'));
    expect([1, 2, 3, 4, 5, 6, 7].map(originalLine)).toEqual([2, 3, 3, 5, 6, 6, 7]);
  });
});

test('the images of a Dockerfile are those that it begins from and copies from, each once', () => {
  const lines = [
    'FROM golang:1.22 AS make',
    'FROM make',
    'FROM alpine:3',
    'COPY --from=make /a /a',
    'COPY --from=0 /a /a',
  ];
  expect(imagesOf([...lines, 'COPY --from=busybox:1 /b /b', 'FROM alpine:3', 'FROM scratch'].join('\n'))).toEqual([
    'golang:1.22',
    'alpine:3',
    'busybox:1',
  ]);
});

describe('a Dockerfile is refused', () => {
  test.each([
    // Cases in which parsers differ
    ['FROM alpine\nRUN echo x\\\\\nCOPY --from=3f / /', 2, 'two backslashes'],
    [`${BACKTICK_DIRECTIVE}\nFROM alpine`, 1, 'escape character'],
    ['# a=b\n# escape=`\nFROM alpine', 2, 'escape character'],
    ['# syntax=evil.example/frontend\nFROM alpine', 1, '# syntax='],
    [`FROM alpine\n${NBSP}COPY --from=3f / /`, 2, 'U+00A0'],
    ['FROM alpine\n\u0085RUN true', 2, 'U+0085'],
    ['FROM alpine\nRUN a\rRUN b', 2, 'U+000D'],
    ['FROM alpine\nRUN a\u2028', 2, 'U+2028'],
    ['FROM alpine\nRUN \ud800', 2, 'U+D800'],
    ['FROM alpine\n\uFEFFRUN a', 2, 'U+FEFF'],
    ['FROM alpine\nRUN a \\ \\\n', 2, 'must not end with a backslash'],
    ['FROM alpine\nRUN <<E\nE', 2, 'here-document'],
    ['FROM alpine\nRUN cat 2<< E > x\nE', 2, 'here-document'],
    ['FROM alpine\nCOPY <<E /x\nE', 2, 'here-document'],
    ['FROM alpine\nRUN ["a"] && b', 2, 'nothing behind its list'],
    ['FROM alpine\nRUN [1]', 2, 'list of texts'],
    ['FROM alpine\nCOPY ["a", "/\tx"]', 2, 'no tab within a text'],
    ['FROM alpine\nADD ["a \\\n/\tb/", "/x"]', 2, 'no tab within a text'],
    ['FROM alpine\nVOLUME ["/a\tb"]', 2, 'no tab within a text'],
    [`FROM alpine\nRUN ${'x'.repeat(60_000)}`, 2, 'at most 60000 bytes'],
    // Unknown instructions and flags
    ['FROM alpine\nRUM true', 2, 'Did you mean "RUN"?'],
    ['FROM alpine\n\u017FHELL ["a"]', 2, 'must begin with an instruction'],
    ['FROM alpine\nONBUILD RUN true', 2, 'ONBUILD'],
    ['FROM alpine\nRUN --mount=type=bind,from=busybox true', 2, 'COPY --from'],
    ['FROM alpine\nRUN --security=insecure true', 2, 'no flags'],
    ['FROM alpine\nRUN --network=host true', 2, 'no flags'],
    ['FROM alpine\nCOPY --chmod=1 a /a', 2, 'chmod'],
    ['FROM alpine\nCOPY --fr\\om=busybox / /', 2, 'must not have the flag'],
    ['FROM alpine\nCOPY --FROM=busybox / /', 2, 'must not have the flag'],
    ['FROM alpine\nCOPY --from="busybox" / /', 2, 'without quotes'],
    ['FROM alpine\nCOPY --from=a:1 --from=b:1 / /', 2, 'once'],
    ['FROM alpine\nRUN -- true', 2, 'must not have the flag'],
    ['FROM alpine\nSHELL /bin/sh', 2, 'needs a list'],
    ['FROM alpine\nHEALTHCHECK wget', 2, 'NONE'],
    ['FROM alpine\nENV A=1 "B C"', 2, 'has no "="'],
    ['FROM alpine\nLABEL a', 2, 'a name and a value'],
    ['FROM alpine\nWORKDIR', 2, 'needs something'],
    // Images
    ['ARG V=3f\nFROM $V', 2, 'names "$V"'],
    ['FROM "alpine"', 1, 'names'],
    ['FROM 7f9829cda069', 1, 'image id'],
    [`FROM ${'7f'.repeat(32)}`, 1, 'image id'],
    [`FROM sha256:${'7f'.repeat(32)}`, 1, 'image id'],
    ['FROM sha256:7f98', 1, 'image id'],
    ['FROM alpine\nCOPY --from=7f98 / /', 2, 'image id'],
    ['FROM alpine\nCOPY --from=$X / /', 2, '--from'],
    ['FROM chronoverse.invalid/workflow/x:1', 1, 'is one that a build has made'],
    ['FROM Chronoverse.INVALID:443/workflow/x:1', 1, 'is one that a build has made'],
    ['FROM alpine\nCOPY --from=chronoverse.invalid/workflow/x:1 / /', 2, 'is one that a build has made'],
    ['FROM alpine\nCOPY --from=scratch / /', 2, 'has no files'],
    // Stages
    ['FROM alpine AS a\nCOPY --from=0 / /', 2, 'none of that number'],
    ['FROM alpine\nCOPY --from=late / /\nFROM alpine AS late', 2, 'a later one'],
    ['FROM alpine AS a\nFROM alpine AS A', 2, 'second time'],
    [`FROM alpine AS ${'a'.repeat(64)}`, 1, 'names a stage'],
    ['FROM alpine AS scratch', 1, 'names a stage'],
    ['FROM alpine busybox', 1, 'must be like'],
    ['RUN true\nFROM alpine', 1, 'before the first FROM'],
    // Data that the engine would fetch
    ...[
      'chronoverse.image.installation=x',
      'chronoverse.image.workflow x',
      'a=1 "chronoverse.image.workflow"=x',
      `chrono'verse'.image.x=1`,
    ].map((label): [string, number, string] => [`FROM alpine\nLABEL ${label}`, 2, 'must not have a label']),
    ['FROM alpine\nENV L=chronoverse.image.x\nLABEL $L=x', 3, 'literally'],
    ['FROM alpine\nLABEL a=1 chrono\\verse.image.x=1', 2, 'literally'],
    ['FROM alpine\nADD http://127.0.0.1/ /x', 2, 'fetch in a RUN'],
    [`FROM alpine\nVOLUME /a\nVOLUME ${'/b '.repeat(100)}`, 3, 'at most 100 volumes'],
    ['FROM alpine\nADD HTTPS://x/ /x', 2, 'fetch in a RUN'],
    ['FROM alpine\nADD ["http:\\/\\/127.0.0.1/", "/x"]', 2, 'fetch in a RUN'],
    ['FROM alpine\nADD a git@example.com:a/b.git /x', 2, 'fetch in a RUN'],
    ['FROM alpine\nADD github.com/a/b /x', 2, 'fetch in a RUN'],
    ['FROM alpine\nENV U=http://127.0.0.1/\nADD $U /x', 3, 'literally'],
    ['FROM alpine\nADD ht"tp"//127.0.0.1/ /x', 2, 'literally'],
    ['FROM alpine\nADD \\\n --checksum=x a /x', 2, 'must not have the flag'],
  ])('%j: line %i', (given, line, sentence) => {
    const { problems = [] } = readDockerfile(given);
    expect(problems.join('\n')).toContain(sentence);
    expect(problems[0]).toMatch(new RegExp(`^Line ${line} of the Dockerfile `));
  });

  test.each(['', '# FROM alpine', 'ARG V=1'])('%j has no FROM', (given) => {
    expect(readDockerfile(given).problems).toEqual([expect.stringContaining('must begin from an image')]);
  });

  test('with the first of very many problems', () => {
    expect(readDockerfile(`FROM alpine\n${'NONSENSE\n'.repeat(5_000)}`).problems).toHaveLength(20);
  });

  test('in a time that grows only with its length', () => {
    const hostile = [' \t', '\\ ', '[', '["', ']', '<<', '0', '--a ', '\u00A0', '"', '\\\n', '#\n'];
    const begun = performance.now();
    for (const piece of hostile)
      for (const start of ['', 'RUN ', 'COPY [', 'ADD ["']) {
        const text = `FROM alpine\n${start}${piece.repeat(Math.floor(50_000 / piece.length))}x`;
        const { dockerfile } = readDockerfile(text);
        if (dockerfile !== undefined) printDockerfile(dockerfile);
      }
    expect(performance.now() - begun).toBeLessThan(5_000);
  });
});

test('instructions from a base image are single lines that cannot include others', () => {
  expect(triggersProblem(['RUN npm ci', 'copy . /app', 'ENV A=1'])).toBeUndefined();
  for (const trigger of [
    'COPY --from=busybox / /',
    'COPY --from=0 / /',
    'ADD http://127.0.0.1/ /x',
    'RUN <<E',
    'RUN a\\\\',
    'RUN a\nADD http://127.0.0.1/ /x',
    'FROM scratch',
    'ONBUILD RUN a',
    '# escape=`',
    '',
  ])
    expect(triggersProblem([`RUN true`, trigger]), trigger).toContain('ONBUILD');
});
