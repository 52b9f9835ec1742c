import https from 'node:https';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { trustOf } from '../../workers/execution/checks/trust.ts';
import { type CertificateMaker, certificateMaker, type Issued, sending } from '../support/chains.ts';
import { hasCommand } from '../support/servers.ts';
import { check, listening, nameServer, outcome, texts } from './support.ts';

const isMissing = !(await hasCommand('openssl', 'chains of certificates of heartbeats'));
const SITE = ['DNS:good.test'];
/** Lets a server use what is too weak for clients. */
const LENIENT = { ciphers: 'DEFAULT@SECLEVEL=0' };

describe.skipIf(isMissing)('the chain of certificates', () => {
  let made: CertificateMaker;
  let root: Issued;
  let authority: Issued;
  let site: Issued;
  beforeAll(async () => {
    made = await certificateMaker();
    root = made.issue('Root', undefined, { to: 3_000 });
    authority = made.issue('Authority', root, { to: 1_000 });
    site = made.issue('site', authority, { names: SITE, to: 299.5 });
  });
  afterAll(() => made?.close());

  async function visit(
    certificate: { key: string; cert: string },
    { trusted = [root], host = 'good.test', days }: { trusted?: Issued[]; host?: string; days?: number } = {},
  ) {
    const { port } = await listening(https.createServer(certificate, (_, response) => response.end('hello')));
    const { names } = await nameServer(() => ['127.0.0.1']);
    const trust = trusted.length === 0 ? {} : { trust: trustOf({ ca: trusted.map(({ cert }) => cert).join('') }) };
    return check({ endpoint: `https://${host}:${port}/`, min_tls_days_left: days }, { names, ...trust });
  }

  describe('counts the days of all that a visitor needs', () => {
    test('an intermediate certificate that ends sooner than the server’s own is named with its days', async () => {
      const short = made.issue('Short authority', root, { to: 3.5 });
      const own = made.issue('own', short, { names: SITE, to: 299.5 });
      expect(outcome(await visit(sending(own, short), { days: 14 }))).toMatch(
        /^CHECK_FAILED: Of 127\.0\.0\.1:\d+, the intermediate certificate of Short authority is valid until \S+Z, 3 days left\. At least 14 were expected\.$/,
      );
      expect(outcome(await visit(sending(own, short), { days: 3 }))).toBe('ok');
      expect(outcome(await visit(sending(own, short)))).toBe('ok');
    });

    test('the soonest of several counts, wherever it is in the chain', async () => {
      const middle = made.issue('Middle', authority, { to: 5.5 });
      const low = made.issue('Low', middle, { to: 90 });
      const own = made.issue('own', low, { names: SITE, to: 20.5 });
      expect(outcome(await visit(sending(own, low, middle, authority), { days: 14 }))).toMatch(/of Middle .*, 5 days/);
      expect(outcome(await visit(sending(own, low, middle, authority), { days: 5 }))).toBe('ok');
    });

    test.each([
      ['that has expired', -2],
      ['that expires soon', 3.5],
    ])('a cross-signed root %s does not count while the root is trusted by itself', async (_, to) => {
      const old = made.issue('Old root', undefined, { to: 1_000 });
      const cross = made.issue('Root', old, { keyOf: root, to });
      expect(outcome(await visit(sending(site, authority, cross), { days: 200 }))).toBe('ok');
      // A visitor who trusts the old root alone has no other way.
      expect(outcome(await visit(sending(site, authority, cross), { days: 14, trusted: [old] }))).toMatch(
        to < 0 ? /intermediate certificate has expired .*that of Root/ : /intermediate certificate of Root .* 3 days/,
      );
    });

    test('of two intermediate certificates with one key, the one with more days counts', async () => {
      for (const to of [-2, 3]) {
        const worse = made.issue('Authority', root, { keyOf: authority, to });
        for (const order of [
          [worse, authority],
          [authority, worse],
        ] as const)
          expect(outcome(await visit(sending(site, ...order), { days: 14 }))).toBe('ok');
      }
    });

    test('a chain that cannot be right does not count, whatever its days', async () => {
      const short = made.issue('Short', root, { to: 5.5 });
      const ended = made.issue('Ended root', undefined, { to: -0.5 });
      const own = made.issue('own', short, { names: SITE, to: 100 });
      const copies = [
        made.issue('Short', ended, { keyOf: short, to: 500 }),
        made.issue('Short', root, { keyOf: short, to: 500, extensions: ['basicConstraints=CA:FALSE'] }),
        made.issue('Short', root, { keyOf: short, to: 500, from: 2 }),
      ];
      for (const copy of copies)
        expect(outcome(await visit(sending(own, short, copy), { days: 14, trusted: [root, ended] }))).toMatch(
          /the intermediate certificate of Short .*, 5 days left/,
        );
    });

    test('a certificate that the chain does not need does not count', async () => {
      const foreign = made.issue('Foreign', root, { to: 1 });
      expect(outcome(await visit(sending(site, authority, foreign, root), { days: 14 }))).toBe('ok');
    });

    test('the days of the trusted root do not count, those of a trusted server’s own certificate do', async () => {
      const ending = made.issue('Ending root', undefined, { to: 3.5 });
      const own = made.issue('own', ending, { names: SITE, to: 299 });
      expect(outcome(await visit(sending(own), { days: 14, trusted: [ending] }))).toBe('ok');
      expect(outcome(await visit(sending(own, ending), { days: 14, trusted: [ending] }))).toBe('ok');
      const alone = made.issue('good.test', undefined, { names: SITE, to: 3.5 });
      expect(outcome(await visit(sending(alone), { days: 14, trusted: [alone] }))).toMatch(/of good\.test .* 3 days/);
      expect(outcome(await visit(sending(alone), { days: 3, trusted: [alone] }))).toBe('ok');
    });
  });

  describe('is refused with the name of the certificate at fault', () => {
    /** Each gives the server's certificates, what is trusted, and what the message says. */
    const REFUSED: [what: string, () => [{ cert: string; key: string }, Issued[], RegExp]][] = [
      [
        'an expired intermediate one',
        () => {
          const old = made.issue('Expired authority', root, { to: -0.5 });
          const own = made.issue('own', old, { names: SITE });
          return [
            sending(own, old),
            [root],
            /: intermediate certificate has expired \(CERT_HAS_EXPIRED\); that of Expired authority, issued by Root, is valid from \S+ until \S+Z\. The server's own certificate is that of own\. /,
          ];
        },
      ],
      [
        'an intermediate one that is not valid yet',
        () => {
          const young = made.issue('Young authority', root, { from: 2 });
          return [
            sending(made.issue('own', young, { names: SITE }), young),
            [root],
            /: intermediate certificate is not valid yet \(CERT_NOT_YET_VALID\); that of Young authority, /,
          ];
        },
      ],
      [
        'an expired root',
        () => {
          const old = made.issue('Expired root', undefined, { to: -0.5 });
          return [
            sending(made.issue('own', old, { names: SITE })),
            [old],
            /: root certificate has expired \(CERT_HAS_EXPIRED\); that of Expired root, /,
          ];
        },
      ],
      [
        'a server’s own that is not valid yet',
        () => [
          sending(made.issue('young', authority, { names: SITE, from: 2 }), authority),
          [root],
          /: certificate is not valid yet \(CERT_NOT_YET_VALID\); that of young, issued by Authority for DNS:good\.test, /,
        ],
      ],
      [
        'a missing intermediate one',
        () => [
          sending(site),
          [root],
          /: authority of the certificate is not known here \(UNABLE_TO_\w+\); that of site, issued by Authority for /,
        ],
      ],
      [
        'a missing second intermediate one',
        () => {
          const low = made.issue('Low', authority);
          return [
            sending(made.issue('own', low, { names: SITE }), low),
            [root],
            /: authority of the intermediate certificate is not known here \(UNABLE_TO_\w+\); that of Low, issued by Authority, /,
          ];
        },
      ],
      [
        'one that signs itself',
        () => [
          sending(made.issue('alone', undefined, { names: SITE })),
          [root],
          /: certificate is signed by itself, and not trusted here \(DEPTH_ZERO_SELF_SIGNED_CERT\); that of alone, issued by alone /,
        ],
      ],
      [
        'a root that is sent and not trusted',
        () => {
          const foreign = made.issue('Foreign root', undefined);
          return [
            sending(made.issue('own', foreign, { names: SITE }), foreign),
            [root],
            /: authority of the root certificate is not trusted here \(SELF_SIGNED_CERT_IN_CHAIN\); that of Foreign root, /,
          ];
        },
      ],
      [
        'an intermediate one that is no authority’s',
        () => {
          const no = made.issue('No authority', root, { extensions: ['basicConstraints=CA:FALSE'] });
          return [
            sending(made.issue('own', no, { names: SITE }), no),
            [root],
            /: intermediate certificate may not issue others \(INVALID_\w+\); that of No authority, /,
          ];
        },
      ],
      [
        'an authority that must not sign',
        () => {
          const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=digitalSignature'];
          const no = made.issue('Silent authority', root, { extensions });
          return [
            sending(made.issue('own', no, { names: SITE }), no),
            [root],
            /: intermediate certificate may not issue others \(\w+\); that of Silent authority, /,
          ];
        },
      ],
      [
        'an authority for other names',
        () => {
          const extensions = ['basicConstraints=critical,CA:TRUE', 'nameConstraints=permitted;DNS:example.com'];
          const bound = made.issue('Bound authority', root, { extensions });
          return [
            sending(made.issue('own', bound, { names: SITE }), bound),
            [root],
            /: certificate, or one above it, breaks a rule such as a constraint on names \(\w+\); that of own, /,
          ];
        },
      ],
      [
        'an authority that may have none below it',
        () => {
          const high = made.issue('Last authority', root, {
            extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0'],
          });
          const low = made.issue('Low', high);
          return [
            sending(made.issue('own', low, { names: SITE }), low, high),
            [root],
            /: intermediate certificate allows fewer certificates below it \(PATH_LENGTH_EXCEEDED\); that of Last authority, /,
          ];
        },
      ],
      [
        'one that is for clients only',
        () => {
          const extensions = ['subjectAltName=DNS:good.test', 'extendedKeyUsage=clientAuth'];
          return [
            sending(made.issue('for clients', authority, { names: SITE, extensions }), authority),
            [root],
            /: certificate is not for servers \(INVALID_PURPOSE\); that of for clients, /,
          ];
        },
      ],
      [
        'an intermediate one that is for any use, which OpenSSL does not take for servers',
        () => {
          const extensions = ['basicConstraints=critical,CA:TRUE', 'extendedKeyUsage=2.5.29.37.0'];
          const any = made.issue('Any authority', root, { extensions });
          return [
            sending(made.issue('own', any, { names: SITE }), any),
            [root],
            /: intermediate certificate is not for servers \(INVALID_PURPOSE\); that of Any authority, /,
          ];
        },
      ],
      [
        'an intermediate one that is signed with SHA-1',
        () => {
          const weak = made.issue('Weak authority', root, { digest: 'sha1' });
          const own = made.issue('own', weak, { names: SITE });
          return [
            { ...sending(own, weak), ...LENIENT },
            [root],
            /: intermediate certificate is signed with MD5 or SHA-1 \(UNSPECIFIED\); that of Weak authority, /,
          ];
        },
      ],
      [
        'an intermediate one with a short key',
        () => {
          const weak = made.issue('Short authority', root, { key: 'rsa:512' });
          const own = made.issue('own', weak, { names: SITE });
          return [
            { ...sending(own, weak), ...LENIENT },
            [root],
            /: key of the intermediate certificate is too short to be safe \(UNSPECIFIED\); that of Short authority, /,
          ];
        },
      ],
      [
        'one whose signature is another key’s',
        () => {
          const same = made.issue('Authority', root);
          return [
            sending(made.issue('forged', same, { names: SITE }), authority),
            [root],
            /: .*\(\w+\); that of forged, issued by Authority /,
          ];
        },
      ],
    ];
    test.each(REFUSED)('%s', async (_, prepare) => {
      const [certificate, trusted, message] = prepare();
      const result = outcome(await visit(certificate, { trusted }));
      expect(result).toMatch(/^CHECK_FAILED: No TLS with 127\.0\.0\.1:\d+: /);
      expect(result).toMatch(message);
      // Days are counted only in certificates that are right.
      expect(outcome(await visit(certificate, { trusted, days: 0 }))).toMatch(message);
    });

    test('another host', async () => {
      expect(outcome(await visit(sending(site, authority), { host: 'other.test' }))).toMatch(
        /: certificate is for other names \(ERR_TLS_CERT_ALTNAME_INVALID\); that of site, .* A certificate valid for other\.test was expected\.$/,
      );
    });
  });

  test('the chain that has the fault is named, though there is one without it', async () => {
    const ended = made.issue('Ended root', undefined, { to: -0.5 });
    const issuer = made.issue('Issuer', root);
    const old = made.issue('Issuer', ended, { keyOf: issuer });
    const own = made.issue('own', issuer, { names: SITE });
    expect(outcome(await visit(sending(own, old, issuer), { trusted: [root, ended] }))).toMatch(
      /: root certificate has expired \(CERT_HAS_EXPIRED\); that of Ended root, /,
    );
    const unknown = made.issue('Unknown root', undefined);
    const lost = made.issue('Issuer', unknown, { keyOf: issuer });
    expect(outcome(await visit(sending(own, lost, issuer)))).toMatch(
      /: authority of the intermediate certificate is not known here \(\w+\); that of Issuer, issued by Unknown root, /,
    );
  });

  test('an intermediate certificate or the server’s own can be what a payload trusts', async () => {
    for (const sent of [sending(site), sending(site, authority)])
      for (const trusted of [authority, site])
        expect(outcome(await visit(sent, { trusted: [trusted], days: 14 }))).toBe('ok');
    const foreign = made.issue('site', root, { names: SITE });
    expect(outcome(await visit(sending(site, authority), { trusted: [foreign] }))).toMatch(/^CHECK_FAILED: No TLS/);
    const ending = made.issue('ending', authority, { names: SITE, to: 3.5 });
    expect(outcome(await visit(sending(ending), { trusted: [ending], days: 14 }))).toMatch(/of ending .* 3 days/);
  });

  test('many certificates that could all have issued each other do not hold a check up', async () => {
    const loop = made.issue('Loop', undefined);
    const many = Array.from({ length: 25 }, () => made.issue('Loop', loop, { keyOf: loop }));
    const own = made.issue('own', loop, { names: SITE });
    const started = performance.now();
    expect(outcome(await visit(sending(own, ...many), { days: 1 }))).toMatch(/No TLS/);
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  test('the days of the server’s own certificate are in the log', async () => {
    expect(texts(await visit(sending(site, authority)))[3]).toMatch(
      /^TLSv1\.3 in .*of site is valid until .*, 299 days left\.$/,
    );
  });
});
