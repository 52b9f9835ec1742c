/** How a registry asks a caller to authenticate. */
export interface Challenge {
  scheme: 'basic' | 'bearer';
  params: ReadonlyMap<string, string>;
}

const CHALLENGE = /(?:^|,)\s*(basic|bearer)(?=\s|,|$)/gi;
const PARAM = /([a-z][a-z0-9_-]*)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^\s,"]+))/gi;

/** The challenges in the values of WWW-Authenticate headers. */
export function challengesIn(values: string[]): Challenge[] {
  return values.flatMap((value) => {
    const starts = [...value.matchAll(CHALLENGE)];
    return starts.map((start, index): Challenge => {
      const text = value.slice(start.index + start[0].length, starts[index + 1]?.index);
      return { scheme: start[1]?.toLowerCase() === 'basic' ? 'basic' : 'bearer', params: paramsIn(text) };
    });
  });
}

/**
 * Every value of a `realm` parameter that looks like a URL, wherever it stands. A header that two
 * parsers read differently hides none.
 */
export function realmsIn(values: string[]): string[] {
  return values.flatMap((value) =>
    [...value.matchAll(/realm\s*=\s*(?:"((?:\\.|[^"\\])*)"?|([^\s,"]+))/gi)]
      .map(([, quoted, bare]) => unescaped(quoted ?? bare ?? '').trim())
      .filter((realm) => /^[a-z][a-z0-9+.-]*:|^\/\//i.test(realm)),
  );
}

function paramsIn(text: string): Map<string, string> {
  return new Map(
    [...text.matchAll(PARAM)].map(([, name = '', quoted, bare]) => [
      name.toLowerCase(),
      unescaped(quoted ?? bare ?? ''),
    ]),
  );
}

function unescaped(text: string): string {
  return text.replace(/\\(.)/g, '$1');
}
