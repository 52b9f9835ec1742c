import { describe, expect, test } from 'vitest';
import { imageProblem, parseImageReference } from '../../domain/images/image-reference.ts';

describe('an image reference', () => {
  test.each([
    ['alpine', { registry: 'docker.io', repository: 'library/alpine', tag: 'latest' }],
    ['python:3.11-alpine', { registry: 'docker.io', repository: 'library/python', tag: '3.11-alpine' }],
    ['team/app:1', { registry: 'docker.io', repository: 'team/app', tag: '1' }],
    ['localhost:5000/app', { registry: 'localhost:5000', repository: 'app', tag: 'latest' }],
    ['localhost/app', { registry: 'localhost', repository: 'app', tag: 'latest' }],
    ['ghcr.io/a/b__c/d-e.f:V1', { registry: 'ghcr.io', repository: 'a/b__c/d-e.f', tag: 'V1' }],
    ['[::1]:5000/app', { registry: '[::1]:5000', repository: 'app', tag: 'latest' }],
    ['index.docker.io/alpine:3', { registry: 'docker.io', repository: 'library/alpine', tag: '3' }],
    [
      `alpine@sha256:${'a'.repeat(64)}`,
      { registry: 'docker.io', repository: 'library/alpine', digest: `sha256:${'a'.repeat(64)}` },
    ],
    [
      `alpine:3@sha256:${'a'.repeat(64)}`,
      { registry: 'docker.io', repository: 'library/alpine', tag: '3', digest: `sha256:${'a'.repeat(64)}` },
    ],
  ])('%s is read as the Docker command reads it', (text, reference) => {
    expect(parseImageReference(text)).toEqual({ reference });
  });

  test.each([
    ['', 'must name an image'],
    ['Alpine', 'must be in lower case before its tag: "alpine"'],
    ['alpine:', 'malformed tag'],
    [':3', 'must be a valid image reference'],
    ['alpine:.3', 'malformed tag'],
    [`alpine:${'a'.repeat(129)}`, 'malformed tag'],
    ['alpine@sha256:abc', 'malformed digest'],
    ['alpine@@', 'at most one "@"'],
    ['https://example.com/app', 'not a URL'],
    ['a b', 'white space'],
    ['a//b', 'must be a valid image reference'],
    ['-a', 'must be a valid image reference'],
    ['a..b', 'must be a valid image reference'],
    ['-host.example/app', 'malformed registry'],
    ['a'.repeat(64), 'is an image id'],
    ['b'.repeat(256), 'more than 255'],
  ])('%j is refused with a message that says what is valid', (text, problem) => {
    expect(parseImageReference(text).problem).toContain(problem);
  });

  test.each([
    `sha256:${'7f'.repeat(32)}`,
    'sha256:7f98',
    'sha256:…',
    `SHA256:${'7F'.repeat(32)}`,
    `docker.io/library/sha256:${'7f'.repeat(32)}`,
    '7f'.repeat(32),
  ])('%j is the id of an image on one engine, and not a name that a registry is asked for', (text) => {
    expect(imageProblem(text)).toContain('is an image id, which only one Docker engine knows');
  });
});
