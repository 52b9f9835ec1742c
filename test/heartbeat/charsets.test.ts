import { describe, expect, test } from 'vitest';
import { answering, check, outcome, raw, response } from './support.ts';

const utf16le = (text: string) => Buffer.from(text, 'utf16le');
const utf16be = (text: string) => utf16le(text).swap16();
const latin1 = (text: string) => Buffer.from(text, 'latin1');
const html = 'Content-Type: text/html';
/** 0x80 is the euro sign of windows-1252, which web pages mean by ISO-8859-1. */
const EURO = '100 \x80';
const PADDING = ' '.repeat(900);

describe('a heartbeat of a page in another charset', () => {
  test.each<[how: string, headers: string[], body: Buffer, wanted: string, named: string]>([
    ['by its header', [`${html}; charset=ISO-8859-1`], latin1('größer'), 'größer', 'ISO-8859-1'],
    ['with quotes', [`${html}; Charset="windows-1251"`], Buffer.from([0xcf, 0xf0]), 'Пр', 'windows-1251'],
    ['in windows-1252 by another name', [`${html};charset=latin1`], latin1(EURO), '100 €', 'latin1'],
    ['in UTF-16 by its header', [`${html}; charset=utf-16`], utf16le('größer'), 'größer', 'utf-16'],
    ['in UTF-16 by its mark', [html], utf16le('\ufeffgrößer'), 'größer', 'utf-16le'],
    [
      'in big-endian UTF-16, whatever the header',
      [`${html}; charset=utf-8`],
      utf16be('\ufeffgrößer'),
      'größer',
      'utf-16be',
    ],
    [
      'in UTF-16 by its XML',
      ['Content-Type: text/xml'],
      utf16be('<?xml version="1.0"?><a>größer</a>'),
      'größer',
      'utf-16be',
    ],
    [
      'in Shift_JIS',
      ['Content-Type: text/plain; charset=Shift_JIS'],
      Buffer.from([0x82, 0xa0, 0x82, 0xa2]),
      'あい',
      'Shift_JIS',
    ],
    ['by its meta', [html], latin1(`<head>${PADDING}<meta charset='iso-8859-15'><p>größer`), 'größer', 'iso-8859-15'],
    [
      'by its http-equiv',
      [],
      latin1('<meta http-equiv=Content-Type content="text/html; charset=koi8-r">\xf0\xd2'),
      'Пр',
      'koi8-r',
    ],
    [
      'not by a comment',
      [html],
      Buffer.from('<!-- <meta charset=utf-16> --><meta charset=big5>\xa4\xa4', 'latin1'),
      '中',
      'big5',
    ],
    [
      'by its XML declaration',
      ['Content-Type: application/xml'],
      latin1('<?xml version="1.0" encoding="ISO-8859-1"?>größer'),
      'größer',
      'ISO-8859-1',
    ],
    [
      'by its meta rather than its XML declaration',
      [html],
      latin1('<?xml version="1.0" encoding="koi8-r"?><meta charset="windows-1252">größer'),
      'größer',
      'windows-1252',
    ],
    [
      'by its XML declaration alone, in XML',
      ['Content-Type: application/xhtml+xml'],
      latin1('<?xml version="1.0" encoding="windows-1252"?><meta charset="koi8-r"/>größer'),
      'größer',
      'windows-1252',
    ],
    [
      'by its meta, not by what another one tells or is called',
      [html],
      latin1(
        '<meta name="a" content="charset=koi8-r"><meta data-charset="koi8-r"><meta content="x > y" charset=latin1>größer',
      ),
      'größer',
      'latin1',
    ],
    [
      'by its http-equiv, in any order and in both kinds of quotes',
      [html],
      latin1(`<meta/content='text/html; charset="koi8-r"' http-equiv="content-type">\xf0\xd2`),
      'Пр',
      'koi8-r',
    ],
    ['by the first parameter', [`${html}; charset=koi8-r; charset=utf-8`], latin1('\xf0\xd2'), 'Пр', 'koi8-r'],
    ['with a quote that lacks its end', [`${html}; charset="koi8-r`], latin1('\xf0\xd2'), 'Пр', 'koi8-r'],
    ['with a type behind it', [`${html}; charset=koi8-r, text/html`], latin1('\xf0\xd2'), 'Пр', 'koi8-r'],
    ['not in quotes', [`${html}; a="; charset=utf-8"; charset=koi8-r`], latin1('\xf0\xd2'), 'Пр', 'koi8-r'],
    ['by the first of two headers', [`${html}; charset=koi8-r`, html], latin1('\xf0\xd2'), 'Пр', 'koi8-r'],
    [
      'by the last of two headers',
      [`${html}; charset=utf-8`, `${html}; charset=koi8-r`],
      latin1('\xf0\xd2'),
      'Пр',
      'koi8-r',
    ],
    ['in UTF-8 where its meta says UTF-16', [html], Buffer.from('<meta charset="utf-16">größer'), 'größer', 'utf-8'],
  ])('finds a text %s', async (_, headers, body, wanted, named) => {
    const { endpoint } = await answering(response(headers, body));
    expect(outcome(await check({ endpoint, body_contains: wanted }))).toBe('ok');
    expect(outcome(await check({ endpoint, body_contains: 'pong' }))).toContain(` (${body.length} bytes, ${named}) `);
  });

  test('finds a text that nothing names a charset for, in UTF-8 and as browsers read the rest', async () => {
    for (const body of [Buffer.from('größer 100 €'), latin1(`größer ${EURO}`)]) {
      const { endpoint } = await answering(response([], body));
      expect(outcome(await check({ endpoint, body_contains: 'größer 100 €' }))).toBe('ok');
      expect(outcome(await check({ endpoint, body_contains: 'größer ö' }))).toMatch(/begins "größer 100 €"/);
    }
    const { endpoint } = await answering(response([`${html}; charset=x-klingon`], Buffer.from('größer')));
    expect(outcome(await check({ endpoint, body_contains: 'größer' }))).toBe('ok');
    expect(outcome(await check({ endpoint, body_contains: 'pong' }))).toContain(
      '(8 bytes, utf-8, as the charset x-klingon is unknown)',
    );
  });

  test('reads as UTF-8 what is valid there, with U+FFFD in it or cut within a character', async () => {
    const marked = await answering(response(['Content-Type: text/plain'], Buffer.from('größer \u{fffd} 100 €')));
    expect(outcome(await check({ endpoint: marked.endpoint, body_matches: '^größer . 100 €$' }))).toBe('ok');
    const cut = await answering(response(['Content-Type: text/plain'], Buffer.from(`größer${'€'.repeat(400_000)}`)));
    expect(outcome(await check({ endpoint: cut.endpoint, body_matches: '^größer€+$' }))).toBe('ok');
    const broken = await answering(
      response(['Content-Type: text/plain'], latin1(`gr\xf6\xdfer${' '.repeat(70_000)}${EURO}`)),
    );
    expect(outcome(await check({ endpoint: broken.endpoint, body_matches: '^größer +100 €$' }))).toBe('ok');
  });

  test('reads JSON as UTF-8', async () => {
    for (const type of ['application/json', 'application/problem+json; a=b']) {
      const { endpoint } = await answering(response([`Content-Type: ${type}`], Buffer.from('{"a":"größer"}')));
      expect(outcome(await check({ endpoint, body_json: { path: '$.a', value: 'größer' } }))).toBe('ok');
      const wrong = await answering(response([`Content-Type: ${type}`], latin1('{"a":"gr\xf6\xdfer"}')));
      expect(outcome(await check({ endpoint: wrong.endpoint, body_contains: 'größer' }))).toMatch(/gr\ufffd/);
    }
  });

  test('takes the first 1,024 characters of a Content-Type', async () => {
    const { endpoint } = await answering(
      response([`Content-Type: text/plain; ${' '.repeat(1_100)}charset=koi8-r`], Buffer.from('größer')),
    );
    expect(outcome(await check({ endpoint, body_contains: 'pong' }))).toContain('(8 bytes) that begins "größer"');
  });

  test('finds a text whose characters come in pieces', async () => {
    const bodies: [string, Buffer, string][] = [
      ['utf-8', Buffer.from('x größer 😀 y'), 'größer 😀'],
      ['utf-16be', utf16be('x größer 😀 y'), 'größer 😀'],
      ['gb18030', Buffer.from([0xd6, 0xd0, 0xb9, 0xfa]), '中国'],
    ];
    for (const [charset, body, wanted] of bodies) {
      const { host } = await raw(async (socket) => {
        socket
          .resume()
          .setNoDelay(true)
          .write(`HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=${charset}\r\n\r\n`);
        for (const byte of body)
          await new Promise<void>((resolve) => socket.write(Buffer.from([byte]), () => setImmediate(resolve)));
        socket.end();
      });
      expect(outcome(await check({ endpoint: `http://${host}/`, body_contains: wanted }))).toBe('ok');
    }
  });

  test('costs little where a document looks like one that names its charset for long', async () => {
    const pieces = '<meta <!-- '.repeat(370) + '>'.repeat(20_000);
    const chunks = [...pieces].map((character) => `1\r\n${character}\r\n`).join('');
    const { endpoint } = await answering(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`);
    const before = process.cpuUsage();
    expect(outcome(await check({ endpoint, body_contains: 'pong' }))).toMatch(/^CHECK_FAILED/);
    expect(process.cpuUsage(before).user / 1e6).toBeLessThan(2);
  });
});
