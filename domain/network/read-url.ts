/**
 * The URL in a text, or undefined. Use it in place of URL.canParse: that of Node 20 refuses texts
 * with letters such as ä, once it has been called some thousand times and is optimized.
 */
export function readUrl(text: string, base?: string): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined; // not a URL
  }
}
