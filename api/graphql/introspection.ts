import {
  type ExecutionArgs,
  type ExecutionResult,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  isAbstractType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  Kind,
  NoSchemaIntrospectionCustomRule,
  print,
  type SelectionSetNode,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';

/** Hides the schema: refuses introspection, and removes suggested names from errors. */
export function hiddenSchema(): Plugin {
  return {
    onValidate({ addValidationRule }) {
      addValidationRule(NoSchemaIntrospectionCustomRule);
      return ({ result, setResult }) => {
        const errors: readonly Error[] = result;
        setResult(errors.map((error) => (error instanceof GraphQLError ? withoutSuggestion(error) : error)));
      };
    },
  };
}

/** `error` without the suggested names at the end of its sentence. */
export function withoutSuggestion(error: GraphQLError): GraphQLError {
  const message = error.message.replace(/ Did you mean .*\?$/s, '');
  if (message === error.message) return error;
  const { nodes, source, positions, path, originalError, extensions } = error;
  return new GraphQLError(message, { nodes, source, positions, path, originalError, extensions });
}

type KnownAnswer = ExecutionResult & { stringify: () => string };

/**
 * Answers to operations that read only the schema. They are the same for everyone, so each is
 * computed and serialized once.
 */
export class IntrospectionAnswers {
  readonly #known = new LRUCache<string, KnownAnswer>({
    max: ANSWERS_MAX,
    maxSize: ANSWERS_LENGTH_MAX,
    sizeCalculation: (answer, key) => answer.stringify().length + key.length,
  });

  /** The key of an answer. Undefined if the operation reads more than the schema. */
  keyOf({ document, operationName, variableValues }: ExecutionArgs): string | undefined {
    const operation = getOperationAST(document, operationName);
    if (operation?.operation !== 'query' || !isOfSchema(operation.selectionSet)) return undefined;
    const used = operation.variableDefinitions?.map(({ variable }) => variableValues?.[variable.name.value]);
    return JSON.stringify([print(document), operationName, used]);
  }

  get(key: string): KnownAnswer | undefined {
    return this.#known.get(key);
  }

  keep(key: string, { data, errors }: ExecutionResult): void {
    if (!data || errors) return;
    const text = JSON.stringify({ data });
    this.#known.set(key, { data, stringify: () => text });
  }
}

const ANSWERS_MAX = 100;
const ANSWERS_LENGTH_MAX = 4_000_000;

function isOfSchema({ selections }: SelectionSetNode): boolean {
  return selections.every(
    (selection) => selection.kind === Kind.FIELD && ['__schema', '__type'].includes(selection.name.value),
  );
}

/**
 * How many items a list of introspection has in this schema. Undefined for other fields. The lists
 * of a type depend on `via`, the field that led to it: callers of `__type` can choose the type with
 * the longest lists, `possibleTypes` and `interfaces` lead to types with fields, others to any
 * type.
 */
export function introspectionListSize(
  schema: GraphQLSchema,
  via: string | undefined,
  parent: string,
  field: string,
): number | undefined {
  const sizes = known.get(schema) ?? sizesOf(schema);
  known.set(schema, sizes);
  if (parent !== '__Type') return sizes.fixed[`${parent}.${field}`];
  const counts = sizes.ofTypes[field];
  if (counts === undefined) return undefined;
  if (via === '__type' || field === 'possibleTypes') return Math.max(...counts);
  return average(via === 'possibleTypes' || via === 'interfaces' ? counts.filter((count) => count > 0) : counts);
}

interface Sizes {
  fixed: Record<string, number>;
  /** The lengths of a list in all types, by its name. */
  ofTypes: Record<string, number[]>;
}

const known = new WeakMap<GraphQLSchema, Sizes>();

function sizesOf(schema: GraphQLSchema): Sizes {
  const types = Object.values(schema.getTypeMap());
  const directives = schema.getDirectives();
  const fieldsOf = types.map((type) =>
    isObjectType(type) || isInterfaceType(type) ? Object.values(type.getFields()) : [],
  );
  return {
    fixed: {
      '__Schema.types': types.length,
      '__Schema.directives': directives.length,
      '__Directive.args': average(directives.map(({ args }) => args.length)),
      '__Directive.locations': average(directives.map(({ locations }) => locations.length)),
      '__Field.args': average(fieldsOf.flat().map(({ args }) => args.length)),
    },
    ofTypes: {
      fields: fieldsOf.map(({ length }) => length),
      inputFields: types.map((type) => (isInputObjectType(type) ? Object.keys(type.getFields()).length : 0)),
      enumValues: types.map((type) => (isEnumType(type) ? type.getValues().length : 0)),
      interfaces: types.map((type) => (isObjectType(type) || isInterfaceType(type) ? type.getInterfaces().length : 0)),
      possibleTypes: types.map((type) => (isAbstractType(type) ? schema.getPossibleTypes(type).length : 0)),
      ofType: [0.5], // not a list: every other type wraps another one
    },
  };
}

function average(sizes: number[]): number {
  return sizes.reduce((sum, size) => sum + size, 0) / Math.max(1, sizes.length);
}
