/**
 * What is wrong with the text behind ENV or LABEL, `name=value ...` or `name value`, as the
 * engine's parser splits it.
 */
export function pairsProblem(name: string, text: string): string | undefined {
  const [first = '', ...others] = words(text);
  if (!first.includes('=')) return /[ \t]/.test(text) ? undefined : `needs a name and a value behind ${name}.`;
  const without = others.find((word) => !word.includes('='));
  if (without === undefined) return undefined;
  return `must have name=value in each word behind ${name}, and ${JSON.stringify(without.slice(0, 100))} has no "=".`;
}

/**
 * The prefix of the labels by which an installation finds its images again, even those of a build
 * that was stopped. Authors must not use it.
 */
export const IMAGE_LABELS = 'chronoverse.image.';

/**
 * What is wrong with the names of labels. The engine takes quotes and backslashes away from them,
 * and puts in variables.
 */
export function labelsProblem(text: string): string | undefined {
  const all = words(text);
  const names = (all[0]?.includes('=') ? all : all.slice(0, 1)).map((word) => word.replace(/=.*/s, ''));
  if (names.some((name) => /[$\\]/.test(name)))
    return 'must name its labels literally, without variables and backslashes.';
  if (!names.some((name) => name.replace(/["']/g, '').startsWith(IMAGE_LABELS))) return undefined;
  return `must not have a label that begins with "${IMAGE_LABELS}".`;
}

/** Splits the text at white space that is neither quoted nor behind a backslash. */
function words(text: string): string[] {
  const found: string[] = [];
  let word = '';
  let quote: string | undefined;
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (quote === undefined && /[ \t]/.test(character)) {
      if (word !== '') found.push(word);
      word = '';
      continue;
    }
    word += character;
    if (character === '\\' && quote !== "'") {
      at += 1;
      word += text.charAt(at);
    } else if (quote === undefined && /["']/.test(character)) quote = character;
    else if (character === quote) quote = undefined;
  }
  return word === '' ? found : [...found, word];
}
