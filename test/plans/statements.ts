import { readdir, readFile } from 'node:fs/promises';
import ts from 'typescript';

const FOLDER = new URL('../../db/', import.meta.url);

/** The modules of db/, by their paths in it. */
export async function modulesOfDb(): Promise<Map<string, Record<string, unknown>>> {
  const names = (await readdir(FOLDER, { recursive: true })).filter((name) => name.endsWith('.ts'));
  return new Map(
    await Promise.all(names.map(async (name) => [name, await import(new URL(name, FOLDER).href)] as const)),
  );
}

/** A template of SQL in db/ that writes rows, or locks them. */
export interface Template {
  /** File and line. */
  at: string;
  /** What stands between its values. */
  parts: string[];
}

const LOCKS = /\b(INSERT INTO|UPDATE|DELETE FROM|FOR (NO KEY )?UPDATE|FOR (KEY )?SHARE)\b/;

export async function lockingTemplates(): Promise<Template[]> {
  const names = (await readdir(FOLDER, { recursive: true })).filter((name) => name.endsWith('.ts'));
  const found: Template[] = [];
  for (const name of names) {
    const text = await readFile(new URL(name, FOLDER), 'utf8');
    const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
    const visit = (node: ts.Node) => {
      if (ts.isTaggedTemplateExpression(node) && node.tag.getText(source) === 'sql') {
        const parts = partsOf(node.template);
        const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
        if (LOCKS.test(node.template.getText(source))) found.push({ at: `db/${name}:${line}`, parts });
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  return found;
}

/** Whether a statement that was sent came from the template. */
export function isFrom(text: string, { parts }: Template): boolean {
  const sent = flat(text);
  let at = 0;
  for (const part of parts) {
    const next = sent.indexOf(part, at);
    if (next === -1) return false;
    at = next + part.length;
  }
  return true;
}

function partsOf(template: ts.TemplateLiteral): string[] {
  if (ts.isNoSubstitutionTemplateLiteral(template)) return [flat(template.text)];
  return [template.head.text, ...template.templateSpans.map((span) => span.literal.text)]
    .map(flat)
    .filter((part) => part !== '');
}

/** Without spaces: parts may begin and end in them. */
function flat(text: string): string {
  return text.replace(/\s+/g, '');
}
