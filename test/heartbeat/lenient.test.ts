import { describe, expect, test } from 'vitest';
import { answering, check, outcome, texts } from './support.ts';

const OK = 'HTTP/1.1 200 OK\r\n';
const BODY = '\r\nall is up';

/** Each is a response that browsers and curl accept. */
const ACCEPTED: [how: string, answer: string][] = [
  ['lines that end in LF alone', 'HTTP/1.1 200 OK\nContent-Length: 9\n\nall is up'],
  ['a space before a colon', `${OK}Content-Length : 9\r\n${BODY}`],
  ['a control character', `${OK}X: a\x01b\x7f\r\nContent-Length: 9\r\n${BODY}`],
  ['a carriage return within a line', `${OK}X: a\rb\r\nContent-Length: 9\r\n${BODY}`],
  ['two carriage returns at the end of a line', `${OK.replace('\r', '\r\r')}Content-Length: 9\r\r\n\r${BODY}`],
  ['equal lengths', `${OK}Content-Length: 9\r\nContent-Length: 9\r\n${BODY}more`],
  ['equal lengths in one line', `${OK}Content-Length: 9, 9\r\n${BODY}more`],
  ['a length with chunks', `${OK}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nall is up\r\n0\r\n\r\n`],
  [
    'unequal lengths with chunks',
    `${OK}Content-Length: 4\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nall is up\r\n0\r\n\r\n`,
  ],
  [
    'chunks said twice',
    `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: Chunked\r\n\r\n9\r\nall is up\r\n0\r\n\r\n`,
  ],
  ['chunks with LF alone, extensions and no end', `${OK}Transfer-Encoding: chunked\n\n003 ;a=b\nall\n6\n is up\n0\n`],
  ['chunks with words behind their length', `${OK}Transfer-Encoding: chunked\r\n\r\n9 abc\r\nall is up\r\n0\r\n\r\n`],
  ['a folded line behind nothing', `${OK}Content-Length:\r\n 9\r\n${BODY}`],
  ['a length that is no number', `${OK}Content-Length: nine\r\n${BODY}`],
  ['the version 2', `HTTP/2 200 OK\r\nContent-Length: 9\r\n${BODY}`],
  ['the version 2.0 without a reason', `HTTP/2.0 200\r\nContent-Length: 9\r\n${BODY}`],
  ['the version 1.0', `HTTP/1.0 200 OK\r\n${BODY}`],
  ['small letters', `http/1.1 200 ok\r\ncontent-length: 9\r\n${BODY}`],
  ['blanks in the status line', `HTTP/1.1  200  OK \r\n${BODY}`],
  ['no reason', `HTTP/1.1 200\r\n${BODY}`],
  ['a stream of ICY', `ICY 200 OK\r\nicy-name: x\r\n${BODY}`],
  ['blank lines before', `\r\n\r\n${OK}${BODY}`],
  ['a folded line', `${OK}X: a\r\n\tb\r\nContent-Length: 9\r\n${BODY}`],
  ['a line that is no header', `${OK}nonsense\r\n: none\r\nContent-Length: 9\r\n${BODY}`],
  ['a name with other characters', `${OK}X (y): 1\r\nContent-Length: 9\r\n${BODY}`],
  ['no header at all', `${OK}${BODY}`],
  [
    'headers of 250 KiB',
    `${OK}X: ${'a'.repeat(200 * 1024)}\r\n${'y: z\r\n'.repeat(8_000)}Content-Length: 9\r\n${BODY}`,
  ],
  ['informational responses', `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\n\n${OK}${BODY}`],
];

describe('a heartbeat of a server that is not strict', () => {
  test.each(ACCEPTED)('accepts %s', async (_, answer) => {
    const { endpoint } = await answering(answer);
    const result = await check({ endpoint, body_contains: 'all is up' });
    expect(outcome(result)).toBe('ok');
    expect(texts(result).at(-1)).toMatch(/^200/);
  });

  test.each([
    [
      'another protocol',
      'SSH-2.0-OpenSSH_9.6\r\n',
      'an answer that is not HTTP, beginning "SSH-2.0-OpenSSH_9.6\\r\\n"',
    ],
    ['a page without headers', '<html>\n', 'an answer that is not HTTP, beginning "<html>\\n"'],
    [
      'a status line without a status',
      'HTTP/1.1 OK\r\n\r\n',
      'an answer that is not HTTP, beginning "HTTP/1.1 OK\\r\\n\\r\\n"',
    ],
    [
      'a status of four digits',
      'HTTP/1.1 2000 OK\r\n\r\n',
      'an answer that is not HTTP, beginning "HTTP/1.1 2000 OK\\r\\n\\r\\n"',
    ],
    [
      'a status under 100',
      'HTTP/1.1 099 OK\r\n\r\n',
      'an answer that is not HTTP, beginning "HTTP/1.1 099 OK\\r\\n\\r\\n"',
    ],
    [
      'an informational response alone',
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
      'the connection was closed after 103 Early Hints',
    ],
    [
      'a NUL byte',
      `${OK}X: a\0b\r\n\r\n`,
      'an answer that is not HTTP, beginning "HTTP/1.1 200 OK\\r\\nX: a\\u0000b\\r\\n\\r\\n"',
    ],
    [
      'TLS',
      '\x15\x03\x01\0\x02\x02\x46',
      'an answer that is not HTTP, beginning "\\u0015\\u0003\\u0001\\u0000\\u0002\\u0002F" (TLS, for which the endpoint begins with https://)',
    ],
    [
      'HTTP/2',
      '\0\0\0\x04\0\0\0\0\0',
      'an answer that is not HTTP, beginning "\\u0000\\u0000\\u0000\\u0004\\u0000\\u0000\\u0000\\u0000\\u0000" (HTTP/2, which a check speaks over TLS only)',
    ],
    [
      'headers without an end',
      `${OK}X: y`,
      'the connection was closed within the headers, beginning "HTTP/1.1 200 OK\\r\\nX: y"',
    ],
    [
      'unequal lengths',
      `${OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde`,
      'a response whose Content-Length is 5 and 6 at once',
    ],
    [
      'unequal lengths in one line',
      `${OK}Content-Length: 5, 6\r\n\r\nabcde`,
      'a response whose Content-Length is 5 and 6 at once',
    ],
  ])('says what came instead of a response: %s', async (_, answer, said) => {
    const { host, endpoint } = await answering(answer);
    expect(outcome(await check({ endpoint }))).toBe(
      `CHECK_FAILED: No response to GET ${host}: ${said}. A response was expected.`,
    );
  });

  test('says where headers or chunks go too far', async () => {
    const long = await answering(`${OK}X: ${'a'.repeat(257 * 1024)}\r\n\r\n`);
    expect(outcome(await check({ endpoint: long.endpoint }))).toMatch(
      /No response .*: headers of more than 262144 bytes, beginning "HTTP\/1\.1 200 OK\\r\\nX: a{180}a*"/,
    );
    const many = await answering('HTTP/1.1 100 Continue\r\n\r\n'.repeat(20));
    expect(outcome(await check({ endpoint: many.endpoint }))).toMatch(/more than 16 informational ones/);
    const broken = await answering(`${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n`);
    expect(outcome(await check({ endpoint: broken.endpoint }))).toMatch(/ended after 5 bytes, .*longer than it says/);
    for (const [chunk, said] of [
      ['x\r\n', 'a chunk does not begin with its length'],
      ['2\r\nabc\r\n', 'a chunk is longer than it says'],
      [`2;${'x'.repeat(20_000)}`, 'a chunk has a line without an end'],
      ['5\r\nabc', 'the connection was closed'],
    ]) {
      const { endpoint } = await answering(`${OK}Transfer-Encoding: chunked\r\n\r\n${chunk}`);
      expect(outcome(await check({ endpoint }))).toMatch(
        new RegExp(`^CHECK_FAILED: The body ended after \\d bytes, before its end \\(${said}\\)`),
      );
    }
  });

  test('reads no body where none can be', async () => {
    for (const status of ['204 No Content', '304 Not Modified']) {
      const { endpoint } = await answering(`HTTP/1.1 ${status}\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\n`);
      expect(outcome(await check({ endpoint, expected_status: [204, 304] }))).toBe('ok');
    }
    const { endpoint } = await answering(`${OK}Transfer-Encoding: chunked\r\n\r\n`);
    expect(outcome(await check({ endpoint, method: 'HEAD' }))).toBe('ok');
  });
});

describe('a heartbeat with headers that are not ASCII', () => {
  const utf8 = (text: string) => Buffer.from(text).toString('latin1');

  test.each([
    ['in UTF-8', utf8('/größer?ä=ö'), '/gr%C3%B6%C3%9Fer?%C3%A4=%C3%B6'],
    ['in Latin-1', '/gr\xf6\xdfer', '/gr%F6%DFer'],
    ['with blanks', '  /a b?c d ', '/a%20b?c%20d'],
    ['encoded already', '/gr%C3%B6%c3%9fer', '/gr%C3%B6%c3%9fer'],
    ['relative', '../x/./y', '/x/y'],
    ['with a fragment', '/x#größer', '/x'],
    ['without a scheme', '//HOST/x', '/x'],
  ])('follows a Location %s', async (_, location, path) => {
    const target = await answering(`${OK}${BODY}`);
    const moved = (to: string) => `HTTP/1.1 302 Found\r\nLocation: ${to}\r\nContent-Length: 0\r\n\r\n`;
    if (location.includes('HOST')) {
      const { endpoint } = await answering(moved(location.replace('HOST', target.host)));
      expect(outcome(await check({ endpoint }))).toBe('ok');
      expect(target.requests[0]).toMatch(new RegExp(`^GET ${path} HTTP`));
      return;
    }
    const { endpoint, requests } = await answering(moved(location), `${OK}${BODY}`);
    expect(outcome(await check({ endpoint }))).toBe('ok');
    expect(requests[1]?.split(' ')[1]).toBe(path);
  });

  test('shows them as UTF-8 where they are that, otherwise as Latin-1', async () => {
    for (const reason of [utf8('Größer'), 'Gr\xf6\xdfer']) {
      const { endpoint } = await answering(`HTTP/1.1 302 ${reason}\r\nLocation: /${reason}\r\n\r\n`);
      expect(outcome(await check({ endpoint, follow_redirects: false }))).toMatch(
        /answered 302 Größer \(to \/Größer\)\./,
      );
    }
  });

  test('sends a header in UTF-8', async () => {
    const { endpoint, requests } = await answering(`${OK}${BODY}`);
    expect(outcome(await check({ endpoint, headers: { 'X-Name': 'größer — 日本' } }))).toBe('ok');
    expect(requests[0]).toContain(`x-name: ${utf8('größer — 日本')}\r\n`);
  });
});
