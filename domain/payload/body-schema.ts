import { RE2JS } from 're2js';
import { z } from 'zod';
import { parseJsonPath } from './json-path.ts';
import { text, typeError } from './value-schema.ts';

/** What a HEARTBEAT can want of a body beside texts. Messages are whole sentences. */

/** RE2 allows a repetition of 1,000, so a longer one only takes long to compile. */
const PATTERN_LENGTH_MAX = 500;
const PATH_LENGTH_MAX = 500;

export const bodyMatches = text('The regular expression').superRefine((value, context) => {
  const problem = patternProblem(value);
  if (problem) context.addIssue({ code: 'custom', message: problem });
});

function patternProblem(pattern: string): string | undefined {
  if (pattern === '') return 'The regular expression must not be empty.';
  if (pattern.length > PATTERN_LENGTH_MAX)
    return `The regular expression must have at most ${PATTERN_LENGTH_MAX} characters.`;
  try {
    RE2JS.compile(pattern);
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^error parsing regexp: /, '') : 'it cannot be read';
    return `The regular expression must be one of RE2, without look-around and back-references: ${reason}.`;
  }
}

export const bodyJson = z.strictObject(
  {
    path: text('The path').superRefine((value, context) => {
      if (value.length > PATH_LENGTH_MAX)
        context.addIssue({ code: 'custom', message: `The path must have at most ${PATH_LENGTH_MAX} characters.` });
      else if (parseJsonPath(value) === undefined) context.addIssue({ code: 'custom', message: PATH_FORM });
    }),
    value: text('The value').optional(),
  },
  { error: typeError('body_json', 'an object, like {"path": "$.status", "value": "ok"}') },
);

const PATH_FORM =
  'The path must be "$" with names, numbers and wildcards, like "$.checks[0].status", "$[\'a name\']" or "$.nodes[*].up".';
