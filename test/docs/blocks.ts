import { readFile } from 'node:fs/promises';

/** The blocks of code in a document that are marked with `language`. */
export async function blocksIn(document: string, language: string): Promise<string[]> {
  const blocks = (await readFile(document, 'utf8')).matchAll(/^```(\w+)\n(.*?)^```/gms);
  return [...blocks].flatMap(([, written, block]) => (written === language ? [block ?? ''] : []));
}
