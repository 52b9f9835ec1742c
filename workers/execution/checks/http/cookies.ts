import { Cookie, CookieJar } from 'tough-cookie';
import { withoutDot } from '../endpoint.ts';
import type { HeaderBytes } from './header-text.ts';
import type { Request } from './request.ts';

/** As in browsers. */
const COOKIE_BYTES_MAX = 4 * 1024;
/** With its attributes: many of them take long to read. */
const LINE_BYTES_MAX = 8 * 1024;
const COOKIES_BYTES_MAX = 64 * 1024;
const COOKIES_MAX = 180;

const OPTIONS = { ignoreError: true, loose: true };

/** The cookies that the responses of one check set. */
export class Cookies {
  /** Made when there is a cookie: few checks have any. */
  private jar: CookieJar | undefined;
  private bytes = 0;
  private count = 0;

  /**
   * Keeps the cookies of a response from `url`, as far as a browser would and the maximum allows.
   */
  take(url: URL, setCookies: readonly HeaderBytes[]): void {
    for (const cookie of setCookies) {
      this.count += 1; // those that are refused too: each costs time
      if (this.count > COOKIES_MAX) return;
      const [pair = ''] = cookie.split(';', 1);
      if (pair.length > COOKIE_BYTES_MAX || cookie.length > LINE_BYTES_MAX) continue;
      if (this.bytes + cookie.length > COOKIES_BYTES_MAX) continue;
      this.bytes += cookie.length;
      const read = Cookie.parse(cookie, { loose: true });
      if (read === undefined) continue;
      this.jar ??= new CookieJar();
      if (this.jar.setCookieSync(read, urlOf(url), OPTIONS) !== undefined) continue;
      if (read.cdomain() !== withoutDot(url.hostname)) continue;
      // A name without a dot passes for a suffix that many share, but may set cookies for itself.
      read.domain = null;
      this.jar.setCookieSync(read, urlOf(url), OPTIONS);
    }
  }

  /**
   * `request` with the cookies for its URL. They replace those of the same name in its own Cookie
   * header.
   */
  addedTo(request: Request): Request {
    const set = this.jar?.getCookiesSync(urlOf(request.url)) ?? [];
    if (set.length === 0) return request;
    const names = new Set(set.map(({ key }) => key));
    const own = (request.headers.cookie ?? '')
      .split(';')
      .map((pair) => pair.trim())
      .filter((pair) => pair !== '' && !names.has(pair.split('=')[0]?.trim() ?? ''));
    const cookie = [...own, ...set.map((one) => one.cookieString())].join('; ');
    return { ...request, headers: { ...request.headers, cookie } };
  }
}

/** As cookies have it: without the dot that makes a name absolute. */
function urlOf(url: URL): string {
  const bare = new URL(url.href);
  bare.hostname = withoutDot(url.hostname);
  return bare.href;
}
