import { maxAliasesRule } from '@escape.tech/graphql-armor-max-aliases';
import { maxDepthRule } from '@escape.tech/graphql-armor-max-depth';
import {
  type DocumentNode,
  GraphQLError,
  Kind,
  parse,
  type SelectionSetNode,
  type ValidationContext,
  validate,
} from 'graphql';
import type { Plugin, YogaInitialContext } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';
import type { Context } from '../context.ts';
import { failure } from '../errors.ts';
import { chosenOperation } from './chosen-operation.ts';
import { conditionalRoots } from './conditional-roots.ts';
import { documentProblem } from './document-text.ts';

/**
 * The size of one document. Within these limits it is parsed and validated in some tens of
 * milliseconds.
 */
export interface DocumentLimits {
  length: number;
  tokens: number;
  depth: number;
  aliases: number;
}

export const DOCUMENT_LIMITS: DocumentLimits = { length: 256 * 1024, tokens: 5_000, depth: 12, aliases: 30 };
/** Enough for GraphiQL's introspection, for signing in, and for `system`. */
export const ANONYMOUS_DOCUMENT_LIMITS: DocumentLimits = { length: 16 * 1024, tokens: 1_000, depth: 8, aliases: 10 };

/**
 * Parses and validates documents within limits, over HTTP and WebSocket, and caches the results.
 */
export function documents(): Plugin<Context & Partial<YogaInitialContext>> {
  const ofUsers = new Documents(DOCUMENT_LIMITS, CACHED_LENGTH_MAX);
  // Anonymous callers cannot evict the documents of users.
  const ofAnonymous = new Documents(ANONYMOUS_DOCUMENT_LIMITS, ANONYMOUS_CACHED_LENGTH_MAX);
  const documentsOf = ({ asker }: Context) => (asker.isAnonymous ? ofAnonymous : ofUsers);
  return {
    onParse: ({ context, setParseFn }) =>
      setParseFn((source) => {
        const document = documentsOf(context).parse(String(source));
        chosenOperation(document, context.params?.operationName || undefined);
        return document;
      }),
    onValidate: ({ context, addValidationRule, setValidationFn }) => {
      const { depth, aliases } = documentsOf(context).limits;
      // By default they throw a `Syntax Error`, which a limit is not.
      addValidationRule(
        maxDepthRule({
          n: depth,
          flattenFragments: true, // a fragment is no level of the answer
          ...refusing(`A document may have a depth of ${depth} fields: ask for less at once.`),
        }),
      );
      addValidationRule(
        maxDepthRule({
          n: NESTING_DEPTH_MAX,
          ...refusing(
            `A document may nest fragments and fields ${NESTING_DEPTH_MAX} levels deep: ask for less at once.`,
          ),
        }),
      );
      addValidationRule(
        maxAliasesRule({ n: aliases, ...refusing(`A document may have ${aliases} aliases: send several requests.`) }),
      );
      setValidationFn((schema, document, rules, _, options) =>
        documentsOf(context).validate(document, () =>
          validate(schema, document, rules, { ...options, maxErrors: ERRORS_MAX }),
        ),
      );
    },
  };
}

const CACHED_MAX = 1_000;
const CACHED_LENGTH_MAX = 1_000_000; // in total: a parsed document takes about 50 times its text
const ANONYMOUS_CACHED_LENGTH_MAX = 100_000;
const ERRORS_MAX = 20;
/** Fragments within fragments, which rules and the executor follow level by level. */
const NESTING_DEPTH_MAX = 50;
const DEFINITIONS_MAX = 100;
const SPREADS_MAX = 200;
/** Validation compares fields of the same name pairwise: at most this many pairs. */
const PAIRS_MAX = 40_000;

class Documents {
  readonly limits: DocumentLimits;
  readonly #parsed: LRUCache<string, DocumentNode | GraphQLError>;
  readonly #problems = new WeakMap<DocumentNode, readonly GraphQLError[]>();

  constructor(limits: DocumentLimits, cachedLength: number) {
    this.limits = limits;
    this.#parsed = new LRUCache({
      max: CACHED_MAX,
      maxSize: cachedLength,
      sizeCalculation: (_, text) => text.length + 1,
    });
  }

  parse(text: string): DocumentNode {
    const known = this.#parsed.get(text) ?? this.#parse(text);
    this.#parsed.set(text, known);
    if (known instanceof Error) throw known;
    return known;
  }

  validate(document: DocumentNode, run: () => readonly GraphQLError[]): readonly GraphQLError[] {
    const known =
      this.#problems.get(document) ?? problemsBefore(document) ?? conditionalRoots(document) ?? withinStack(run);
    this.#problems.set(document, known);
    return known;
  }

  #parse(text: string): DocumentNode | GraphQLError {
    const problem = documentProblem(text, this.limits);
    if (problem) return refusal(problem);
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof GraphQLError)) throw error;
      const { message, source, positions } = error;
      const extensions = { code: 'GRAPHQL_PARSE_FAILED', http: { status: 400, spec: true } };
      return new GraphQLError(message, { source, positions, extensions });
    }
  }
}

/** The options of a rule that refuses a document by this sentence, once. */
function refusing(message: string) {
  const report = (context: ValidationContext | null) => context?.reportError(refusal(message));
  return { onReject: [report], propagateOnRejection: false };
}

function refusal(message: string): GraphQLError {
  return failure('BAD_REQUEST', message, { http: { status: 400, spec: true } });
}

/**
 * Runs the rules of validation. Fragments within fragments can be deep where their brackets are
 * not, and some rules call themselves for each.
 */
function withinStack(run: () => readonly GraphQLError[]): readonly GraphQLError[] {
  try {
    return run();
  } catch (error) {
    if (error instanceof RangeError) return [refusal('The fragments of the document are nested too deeply.')];
    throw error;
  }
}

/** What would make validation itself slow. */
function problemsBefore({ definitions }: DocumentNode): GraphQLError[] | undefined {
  if (definitions.length > DEFINITIONS_MAX)
    return [
      refusal(
        `A document may have ${DEFINITIONS_MAX} operations and fragments, and this one has ${definitions.length}.`,
      ),
    ];
  const sameNames = new Map<string, number>();
  let spreads = 0;
  const sets: SelectionSetNode[] = definitions.flatMap((definition) =>
    'selectionSet' in definition ? [definition.selectionSet] : [],
  );
  for (let set = sets.pop(); set; set = sets.pop()) {
    for (const selection of set.selections) {
      if (selection.kind === Kind.FRAGMENT_SPREAD) spreads += 1;
      else if (selection.selectionSet) sets.push(selection.selectionSet);
      if (selection.kind !== Kind.FIELD) continue;
      const { value } = selection.alias ?? selection.name;
      sameNames.set(value, (sameNames.get(value) ?? 0) + 1);
    }
  }
  if (spreads > SPREADS_MAX)
    return [refusal(`A document may spread fragments ${SPREADS_MAX} times, and this one does ${spreads} times.`)];
  const pairs = [...sameNames.values()].reduce((sum, count) => sum + count ** 2, 0);
  if (pairs <= PAIRS_MAX) return undefined;
  return [refusal('The document has too many fields of the same name: ask for each once, or under aliases.')];
}
