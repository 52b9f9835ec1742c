import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

/**
 * Words that this code base once used in a sense of its own, and the standard term or plain
 * sentence that replaces each.
 */
const REPLACED: [RegExp, string][] = [
  [/\battend(s|ed|ing|ance)?\b|attendance|attendSchedules/i, 'reconcile'],
  [/\bendings\b/i, 'finish'],
  [/\bhand(s|ed|ing)? out\b|hand(ed)?Out/i, 'dispatch'],
  [/\bseams?\b|seamOf|isSeam|settleSeams/i, 'attempt marker'],
  [/\bendOf\b|\bleftOpen\b/, 'end-of-log marker, log_open'],
  [/\bannounc(e|es|ed|ing|ement|ements)\b/i, 'publish'],
  [/\btold\b|\btells? of\b|untold/i, 'publish, or a sentence with the one who acts'],
  [/\blanes?\b/i, 'partition runner'],
  [/\bcaptur(e|es|ed|ing)\b/i, 'log collector, collect'],
  [/\b(mailbox|inbox)(es)?\b/i, 'coalescing queue'],
  [/\bpatien(ce|t|tly)\b|Patience|patienceMs/, 'retry'],
  [/\boneAtATime\b|\bOneAtATime\b/, 'serializer'],
  [/\bcreateWake\b|\bclass Wake\b/, 'signal'],
  [/foldTotals|\bfold(s|ed|ing)? (the |into )?totals\b/i, 'roll up'],
  [/'HELD'/, 'BLOCKED'],
  [/\bwhoever\b/i, 'the one who acts'],
  [/\bmend(s|ed|ing)?\b/i, 'fix, correct'],
  [/\b(is|are|was|were) to be\b/i, 'must be, or an active sentence'],
];
/**
 * Applied migrations, and tests of databases of older versions, name what was replaced. So may the
 * changelog and this file.
 */
const EXEMPT =
  /^(db\/(migrations\/|schema\.sql$)|test\/(db\/|support\/old-database\.ts$)|CHANGELOG\.md$|test\/docs\/words\.test\.ts$)/;
const COMMENT_COLUMNS_MAX = 100;

const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  .split('\n')
  .filter((path) => /\.(ts|js|md|graphql|sql|yml|sh)$/.test(path) && !EXEMPT.test(path));

describe('the sources and documents', () => {
  test('use the standard words', () => {
    const uses = tracked.flatMap((path) =>
      readFileSync(path, 'utf8')
        .split('\n')
        .flatMap((line, index) =>
          REPLACED.filter(([word]) => word.test(line)).map(
            ([word, instead]) => `${path}:${index + 1}: ${word.exec(line)?.[0]} (say: ${instead})`,
          ),
        ),
    );
    expect(uses).toEqual([]);
  });

  test(`keep comments within ${COMMENT_COLUMNS_MAX} columns`, () => {
    const long = tracked.filter((path) => path.endsWith('.ts')).flatMap(longComments);
    expect(long).toEqual([]);
  });
});

function longComments(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const ranges = new Map<number, ts.CommentRange>();
  const visit = (node: ts.Node): void => {
    const leading = ts.getLeadingCommentRanges(text, node.getFullStart()) ?? [];
    const trailing = ts.getTrailingCommentRanges(text, node.end) ?? [];
    for (const range of [...leading, ...trailing]) ranges.set(range.pos, range);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return [...ranges.values()].flatMap(({ pos, end }) => {
    const first = source.getLineAndCharacterOfPosition(pos).line;
    const last = source.getLineAndCharacterOfPosition(end).line;
    const lines = text.split('\n').slice(first, last + 1);
    return lines.flatMap((line, index) => (line.length > COMMENT_COLUMNS_MAX ? [`${path}:${first + index + 1}`] : []));
  });
}
