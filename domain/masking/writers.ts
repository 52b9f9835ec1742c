/**
 * The ways in which programs write a text between quotes, without the quotes. Where a program
 * chooses a way by its locale or by the quotes in the text, all ways are included. Each form comes
 * from the program's own output (test/secrets/writers.test.ts).
 */
export function quotedForms(text: string): string[] {
  const json = JSON.stringify(text).slice(1, -1);
  const jsons = [
    json,
    json.replaceAll('/', '\\/'), // PHP
    inAsciiJson(text), // Python
    json.replaceAll('\x7f', '\\u007f'), // jq
    json.replace(/[<>&\u2028\u2029]/g, unit), // Go
    json.replace(/[<>&='\u2028\u2029]/g, unit), // Gson
    json.replaceAll('\\"', '\\u0022').replace(/[<>&'+`]|[\x7f-\uffff]/g, upperUnit), // .NET
  ];
  const shells = [text, ...jsons].flatMap(inShellQuotes);
  const doubled = [text.replaceAll("'", "''"), text.replaceAll('"', '""')]; // YAML and SQL, CSV
  return [...jsons, ...shells, ...doubled, ...inGnuWords(text), ...STYLES.map((style) => styled(text, style))];
}

/** The text as Python writes it in JSON. */
export function inAsciiJson(text: string): string {
  return JSON.stringify(text)
    .slice(1, -1)
    .replace(/[\x7f-\uffff]/g, unit);
}

/**
 * The ways to write a quote within single quotes: bash, zsh and GNU; dash and busybox; Python's
 * shlex.
 */
function inShellQuotes(text: string): string[] {
  if (!text.includes("'")) return [];
  return [
    text.replaceAll("'", `'\\''`),
    text.replaceAll(/'+/g, (quotes) => `'"${quotes}"'`),
    text.replaceAll("'", `'"'"'`),
  ];
}

/**
 * The ways of coreutils' printf %q and ls: characters that do not print stand between quotes of
 * their own.
 */
function inGnuWords(text: string): string[] {
  const written = (found: string) =>
    found === "'"
      ? `'\\''`
      : `'$'${styled(found, { quoted: /\\/, named: C_LETTERS, control: octal, beyond: octal })}''`;
  return [/'|\p{Cc}+/gu, /'|(?:\p{Cc}|[^\0-\x7f])+/gu].map((odd) => text.replace(odd, written));
}

interface Style {
  /** Characters that get a backslash. */
  quoted: RegExp;
  /** Letters for control characters. */
  named?: Record<string, string>;
  /** Control characters without a letter. */
  control?: (character: string) => string;
  /** Characters beyond ASCII. */
  beyond?: (character: string) => string;
}

const C_LETTERS = { '\x07': 'a', '\b': 'b', '\t': 't', '\v': 'v', '\f': 'f' };
const NODE_LETTERS = { '\b': 'b', '\t': 't', '\v': 'v', '\f': 'f' };
const BASH_LETTERS = { ...C_LETTERS, '\x1b': 'E' };
const RUBY_LETTERS = { ...C_LETTERS, '\x1b': 'e' };

const octal = bytes((byte) => `\\${byte.toString(8).padStart(3, '0')}`);
const hex = bytes((byte) => `\\x${byte.toString(16).padStart(2, '0')}`);
const upperHex = bytes((byte) => `\\x${byte.toString(16).toUpperCase().padStart(2, '0')}`);
const code = (character: string) => character.codePointAt(0) ?? 0;
const short = (character: string) => `\\x${code(character).toString(16).padStart(2, '0')}`;
const upperShort = (character: string) => short(character).replace(/..$/, (digits) => digits.toUpperCase());
const long = (character: string) =>
  code(character) > 0xffff ? `\\U${code(character).toString(16).padStart(8, '0')}` : unit(character);
const python = (character: string) => (code(character) > 0xff ? long(character) : short(character));
const braces = (character: string) =>
  code(character) > 0xffff ? `\\u{${code(character).toString(16).toUpperCase()}}` : upperUnit(character);

const BASH_WORD = /[\t !"$&'()*,;<>?[\\\]^`{|}]|^[#~]/;
const RUBY_TEXT = /["\\]|#(?=[{$@])/;
const STYLES: readonly Style[] = [
  { quoted: /["$\\`]/ }, // bash: declare -p, export -p
  { quoted: BASH_WORD }, // bash: printf %q
  { quoted: /[^A-Za-z0-9_\-.,:+/@]/ }, // Ruby: Shellwords
  { quoted: /['\\]/, named: BASH_LETTERS, control: octal }, // bash: $'...'
  { quoted: /['\\]/, named: BASH_LETTERS, control: octal, beyond: octal }, // the same in the locale C
  { quoted: /['\\]/, named: { '\t': 't' }, control: short }, // Python: repr
  { quoted: /\\/, named: { '\t': 't' }, control: short },
  { quoted: /['\\]/, named: { '\t': 't' }, control: short, beyond: python }, // Python: ascii
  { quoted: /\\/, named: { '\t': 't' }, control: short, beyond: python },
  { quoted: /['\\]/, named: { '\t': 't' }, control: short, beyond: hex }, // Python: bytes
  { quoted: /\\/, named: { '\t': 't' }, control: short, beyond: hex },
  { quoted: /['\\]/, named: NODE_LETTERS, control: upperShort }, // Node: console.log
  { quoted: /\\/, named: NODE_LETTERS, control: upperShort },
  { quoted: RUBY_TEXT, named: RUBY_LETTERS, control: upperUnit }, // Ruby: inspect
  { quoted: RUBY_TEXT, named: RUBY_LETTERS, control: upperShort },
  { quoted: RUBY_TEXT, named: RUBY_LETTERS, control: upperHex, beyond: upperHex }, // the same in the locale C
  { quoted: RUBY_TEXT, named: RUBY_LETTERS, control: upperShort, beyond: braces }, // Ruby: dump
  { quoted: /["\\]/, named: C_LETTERS, control: short }, // Go: %q
  { quoted: /["\\]/, named: C_LETTERS, control: short, beyond: long }, // Go: %+q
];

function styled(text: string, { quoted, named = {}, control = same, beyond = same }: Style): string {
  const marked = new RegExp(`(${quoted.source})|(\\p{Cc})|([^\\0-\\x7f])`, 'gu');
  return text.replace(marked, (character, isQuoted: string | undefined, isControl: string | undefined) => {
    if (isQuoted !== undefined) return `\\${character}`;
    if (isControl === undefined) return beyond(character);
    const letter = named[character];
    return letter === undefined ? control(character) : `\\${letter}`;
  });
}

function same(character: string): string {
  return character;
}

function bytes(write: (byte: number) => string): (character: string) => string {
  return (character) => [...Buffer.from(character)].map(write).join('');
}

function unit(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function upperUnit(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
}
