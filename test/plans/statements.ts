import { readdir, readFile } from 'node:fs/promises';
import ts from 'typescript';
import { SENT_ONCE } from '../../db/named.ts';

const FOLDER = new URL('../../db/', import.meta.url);

/** The modules of db/, by their paths within it. */
export async function modulesOfDb(): Promise<Map<string, Record<string, unknown>>> {
  const names = await pathsOfDb();
  return new Map(
    await Promise.all(names.map(async (name) => [name, await import(new URL(name, FOLDER).href)] as const)),
  );
}

/** A statement in SQL text in db/: the argument of `execute`. */
export interface Written {
  /** The file and the line. */
  at: string;
  module: string;
  /** The nearest named function around it. */
  writtenIn: string;
  /** The comment behind its first word, in any form. */
  name: string | undefined;
}

export async function writtenStatements(): Promise<Written[]> {
  const found: Written[] = [];
  for (const { node, source, module, at } of await templates()) {
    let call: ts.Node = node.parent;
    while (ts.isConditionalExpression(call)) call = call.parent;
    const isExecuted =
      ts.isCallExpression(call) &&
      ts.isPropertyAccessExpression(call.expression) &&
      call.expression.name.text === 'execute';
    if (!isExecuted) continue;
    const text = node.template.getText(source).slice(1);
    found.push({ at, module, writtenIn: functionAround(node), name: nameOf(text) });
  }
  return found;
}

/** For each function name, the modules of db/ that declare it. */
export async function modulesByFunction(): Promise<Map<string, string[]>> {
  const modules = new Map<string, string[]>();
  for (const [module, source] of await sources())
    for (const statement of source.statements) {
      const name = ts.isFunctionDeclaration(statement) ? statement.name?.text : undefined;
      if (name !== undefined) modules.set(name, [...(modules.get(name) ?? []), module]);
    }
  return modules;
}

/**
 * The name in the text of a statement: behind its first word, or at its end if the query builder
 * made it.
 */
export function nameOf(text: string): string | undefined {
  const match = /^\s*\(?(?:WITH RECURSIVE|\w+) \/\* (\w+) \*\/|\/\* (\w+) \*\/$/.exec(asKept(text));
  return match?.[1] ?? match?.[2];
}

/** The text as it is where few were prepared before, by whatever test of this process. */
export function asKept(text: string): string {
  return text.replace(` ${SENT_ONCE}`, '');
}

export function withoutName(text: string): string {
  return text.replace(/ \/\* \w+ \*\//, '');
}

/** The text with `jobs` in the place of its partitions. */
export function withoutDays(text: string): string {
  return text.replace(/\bjobs_(\d{8}|other) AS jobs\b/g, 'jobs');
}

/** An SQL template in db/ that writes or locks rows. */
export interface Template {
  /** The file and the line. */
  at: string;
  /** The text between its values. */
  parts: string[];
}

const LOCKS = /\b(INSERT INTO|UPDATE|DELETE FROM|FOR (NO KEY )?UPDATE|FOR (KEY )?SHARE)\b/;

export async function lockingTemplates(): Promise<Template[]> {
  const all = await templates();
  return all
    .filter(({ node, source }) => LOCKS.test(withoutName(node.template.getText(source))))
    .map(({ node, at }) => ({ at, parts: partsOf(node.template) }));
}

/** Whether the template produced the sent statement. */
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

async function templates() {
  const found: { node: ts.TaggedTemplateExpression; source: ts.SourceFile; module: string; at: string }[] = [];
  for (const [module, source] of await sources()) {
    const visit = (node: ts.Node) => {
      if (ts.isTaggedTemplateExpression(node) && node.tag.getText(source) === 'sql') {
        const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
        found.push({ node, source, module, at: `db/${module}:${line}` });
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  return found;
}

async function sources(): Promise<Map<string, ts.SourceFile>> {
  const files = new Map<string, ts.SourceFile>();
  for (const path of await pathsOfDb()) {
    const text = await readFile(new URL(path, FOLDER), 'utf8');
    files.set(path, ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true));
  }
  return files;
}

async function pathsOfDb(): Promise<string[]> {
  return (await readdir(FOLDER, { recursive: true })).filter((name) => name.endsWith('.ts')).toSorted();
}

function functionAround(node: ts.Node): string {
  for (let around = node.parent; !ts.isSourceFile(around); around = around.parent)
    if (ts.isFunctionDeclaration(around) && around.name) return around.name.text;
  return '';
}

function partsOf(template: ts.TemplateLiteral): string[] {
  if (ts.isNoSubstitutionTemplateLiteral(template)) return [flat(template.text)];
  return [template.head.text, ...template.templateSpans.map((span) => span.literal.text)]
    .map(flat)
    .filter((part) => part !== '');
}

/** The text without spaces, because parts may begin and end with them. */
function flat(text: string): string {
  return text.replace(/\s+/g, '');
}
