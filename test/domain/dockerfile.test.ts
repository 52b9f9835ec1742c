import { describe, expect, test } from 'vitest';
import { checkDockerfile, labelStages } from '../../domain/dockerfile.ts';

describe('what a Dockerfile takes from outside', () => {
  test('are the images that it begins from and copies from, each once, without its own stages and scratch', () => {
    const { images, problems } = checkDockerfile(
      [
        '# syntax=docker/dockerfile:1',
        'FROM --platform=linux/amd64 golang:1.22 AS Make',
        'RUN echo FROM nothing',
        'FROM alpine:3',
        'COPY --from=make /a /a',
        'COPY --from=0 /a /a',
        'copy --chown=1:1 --from=busybox:1 /b /b',
        'from \\',
        '# in between',
        '',
        '  alpine:3',
        'FROM scratch',
        'ADD files /files',
      ].join('\n'),
    );
    expect({ images, problems }).toEqual({ images: ['golang:1.22', 'alpine:3', 'busybox:1'], problems: [] });
  });

  test.each([
    ['ARG V=3f\nFROM $V', 'literally'],
    ['FROM "alpine"', 'literally'],
    ['FROM chronoverse.invalid/workflow/x:1', 'is one that a build has made'],
    ['FROM alpine\nCOPY --from=chronoverse.invalid/workflow/x:1 / /', 'is one that a build has made'],
    ['FROM alpine\nONBUILD COPY --from=$X / /', 'literally'],
    ['FROM alpine\nCOPY --fr\\om=3f / /', 'without quotes and escapes'],
    ['# escape=`\nFROM alpine\nCOPY `\n --from=$X / /', 'literally'],
    ['FROM alpine\nADD http://127.0.0.1/ /x', 'ADD'],
    ['FROM alpine\nADD ["http:\\/\\/127.0.0.1/", "/x"]', 'ADD'],
    ['FROM alpine\nENV U=http://127.0.0.1/\nADD $U /x', 'ADD'],
    ['FROM alpine\nADD htt"p:/"/127.0.0.1/ /x', 'ADD'],
    ['# a=b\n# escape=`\nFROM alpine', 'first line'],
    [' # escape=`\nFROM alpine', 'first line'],
    ['FROM alpine\nRUN <<E\nE', 'here-document'],
    ['FROM alpine\nRUN true \\\n # indented\nCOPY --from=$X / /', 'literally'],
    ['FROM alpine\n\u0085COPY --from=$X / /', 'literally'],
    ['', 'begin from an image'],
    ['RUN true', 'begin from an image'],
  ])('%j is refused', (dockerfile, sentence) => {
    expect(checkDockerfile(dockerfile).problems.join(' ')).toContain(sentence);
  });
});

describe('the stages of a Dockerfile', () => {
  test('are labelled one by one, and a line of the result is found in what was given', () => {
    const given = ['# syntax', 'FROM a:1 \\', ' # why', '  AS made', 'RUN true', 'from scratch', 'NONSENSE'].join('\n');
    const { text, originalLine } = labelStages(given, { one: '1', two: '"2"' });
    const label = 'LABEL one="1" two="\\"2\\""';
    const lines = [
      '# syntax',
      'FROM a:1 \\',
      ' # why',
      '  AS made',
      label,
      'RUN true',
      'from scratch',
      label,
      'NONSENSE',
    ];
    expect(text.split('\n')).toEqual(lines);
    expect([1, 4, 6, 9].map(originalLine)).toEqual([1, 4, 5, 7]);
  });
});
