import fc from 'fast-check';

/**
 * Dockerfiles that an attacker could write to find a difference between two parsers. Most of each
 * is valid, so that many are accepted, with continuations, escapes, directives, white space,
 * here-documents and quotes at dangerous places.
 */
export function hostileDockerfile(): fc.Arbitrary<string> {
  return fc
    .tuple(seldom(START, ''), fc.array(line, { maxLength: 6 }))
    .map(([start, lines]) => `${start}FROM alpine:3 AS one\n${lines.join('')}`)
    .chain((text) => fc.oneof({ weight: 4, arbitrary: fc.constant(text) }, { weight: 1, arbitrary: disturbed(text) }));
}

const START = [
  '\uFEFF',
  '# escape=`\n',
  '#escape = \\\n',
  '#\u00A0escape=`\n',
  '# syntax=a/b\n',
  '# syntax=docker/dockerfile:1\n',
].concat([
  '#!/x\n',
  '# a\n# escape=`\n',
  '\n# escape=`\n',
  '// syntax=a/b\n',
  'ARG V=1\n',
  '\uFEFF\uFEFF',
  '  # check=skip=all\n',
]);

const SPACE = [
  '  ',
  '\t',
  ' \t ',
  '\u00A0',
  '\u0085',
  '\u2028',
  '\v',
  '\f',
  '\r',
  '\uFEFF',
  '\u3000',
  '\u180E',
  '',
  '\\ ',
  '\0',
];
const GOES_ON = [
  ' \\\n',
  '\\\n',
  '\\ \t\n ',
  '\\\r\n',
  '\\\\\n',
  '`\n',
  ' \\\n# why\n',
  ' \\\n  # why\n',
  ' \\\n\n \t\n',
  '\\\u00A0\n',
].concat([
  '\\\f\n',
  '\\\\\\\n',
  '\\ \\\n',
  ' \\\n\\\n',
  ' \\\n# escape=`\n',
  ' \\\n#\\\n',
  '\\\r\r\n',
  ' \\\n\u00A0# x\n',
]);
const END = [
  '\r\n',
  '\n\n',
  '\n# RUN x \\\n',
  ' \\',
  '\\\n',
  '\\\\\n',
  '\r',
  '\n \n',
  '\n\t#\\\n',
  '\u2028\n',
  '\u0085\n',
  ' # x\n',
  '',
];
const NAME = [
  'FROM',
  'COPY',
  'ADD',
  'RUN',
  'ENV',
  'CMD',
  'LABEL',
  'ARG',
  'SHELL',
  'HEALTHCHECK',
  'VOLUME',
  'USER',
  'WORKDIR',
  'EXPOSE',
].concat([
  'ENTRYPOINT',
  'STOPSIGNAL',
  'MAINTAINER',
  'ONBUILD',
  'from',
  'Copy',
  'rUN',
  'aDD',
  '\u017FHELL',
  'WOR\u212ADIR',
  'R\\UN',
  'NONSENSE',
  '#RUN',
]);
const FLAG = [
  '--from=one',
  '--from=ONE',
  '--from=0',
  '--from=00',
  '--from=busybox:1',
  '--from=$V',
  '--fr\\om=3f',
  '--from="one"',
  '--from=9',
]
  .concat([
    '--from=two',
    '--from=7f9829cda069',
    '--chown=1:1',
    '--chown=$U',
    '--chmod=1',
    '--mount=type=bind,from=x',
    '--',
    '--link',
    '--from',
  ])
  .concat([
    '--platform=linux/amd64',
    '--platform=$P',
    '--interval=5s',
    '--retries=3',
    '--x=\u00E0',
    '--from=o\u00A0ne',
    "--from='a b'",
  ]);
const WORD = [
  'alpine:3',
  'one',
  'two',
  'AS',
  'as',
  'scratch',
  'busybox',
  '3f',
  '/a',
  '/b',
  '.',
  'x=1',
  '$V',
  '$' + '{V:-<}',
  '<<E',
  '2<<-E',
  '<<<x',
  '<<',
]
  .concat([
    '"a b"',
    "'a",
    '"',
    '\\',
    '\\n',
    '["a", "b"]',
    '["a"] x',
    '[',
    '[]',
    '[1]',
    '["http://x/", "/x"]',
    '["a\\\\", "\\u0041\u2028"]',
    'NONE',
    'CMD',
  ])
  .concat([
    'http://127.0.0.1/',
    'HTTP://x',
    'git@x:y',
    'github.com/a/b',
    'htt"p://x"',
    'E',
    '\u00E9\u00A0',
    '\u{1F600}',
    '`',
    '#',
    '&&',
    'echo',
    '-x',
  ])
  .concat([
    'sha256:7f98',
    '7f9829cda0698aad84a2e07a587f118198fa903121c6ecef0c35d21b81a9e7d2',
    'docker.io/library/alpine',
    'RUN',
    '$X<<E',
    '<$' + '{X:+}<E',
  ]);

const word = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('/a', '/b', 'x=1', 'echo', 'alpine:3', 'one') },
  { weight: 2, arbitrary: fc.constantFrom(...WORD) },
);
const space = seldom(SPACE, ' ');
/** Instructions that would be accepted, and instructions that could hide in one. */
const whole = fc.constantFrom(
  'COPY --from=one /a /b',
  'FROM alpine:3 AS two',
  'FROM one',
  'ADD a b /c/',
  'RUN ["a", "b"]',
  'HEALTHCHECK --interval=5s CMD x',
  'SHELL ["/bin/sh", "-c"]',
  'VOLUME /v',
  'ENV a=1 b="2 3"',
  'LABEL "a b"=\'c\'',
  'E',
  'COPY --from=3f / /',
  'ADD http://127.0.0.1/ /x',
  'RUN <<E',
  'RUN echo x\\\\',
  'RUN if [ "$a" = b ]; then echo $((1<<2)); fi',
);
const made = fc
  .tuple(
    fc.oneof(
      { weight: 2, arbitrary: fc.constantFrom('RUN', 'COPY', 'ENV', 'run') },
      { weight: 1, arbitrary: fc.constantFrom(...NAME) },
    ),
    fc.array(fc.tuple(space, fc.constantFrom(...FLAG)), { maxLength: 1 }),
    fc.array(fc.tuple(space, word), { minLength: 1, maxLength: 4 }),
  )
  .map(([name, flags, words]) => name + [...flags, ...words].flat().join(''));
const line = fc
  .tuple(
    fc.oneof(whole, made),
    seldom(END, '\n'),
    fc.option(fc.tuple(fc.nat(), fc.constantFrom(...GOES_ON)), { freq: 3 }),
  )
  .map(([text, end, split]) => (split === null ? text : inserted(text, split)) + end);

function seldom(values: string[], usual: string): fc.Arbitrary<string> {
  return fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...values) });
}

/** The text with a hostile piece inserted at any place. */
function disturbed(text: string): fc.Arbitrary<string> {
  const pieces = fc.constantFrom(...SPACE, ...GOES_ON, ...END, ...WORD);
  return fc.tuple(fc.nat(), pieces).map((insertion) => inserted(text, insertion));
}

function inserted(text: string, [at, piece]: [number, string]): string {
  const place = at % (text.length + 1);
  return text.slice(0, place) + piece + text.slice(place);
}
