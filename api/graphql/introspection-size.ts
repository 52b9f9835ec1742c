import {
  type GraphQLSchema,
  isAbstractType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
} from 'graphql';

/**
 * How many items a list of introspection has in this schema: undefined for what is no list. Of a type, that depends on `via`, the field that led to it:
 * `__type` may name the one with the longest lists, `possibleTypes` and `interfaces` lead to types with fields, all others to any.
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
  /** By the list's name, its length in each type. */
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
      ofType: [0.5], // no list: every other type wraps another one
    },
  };
}

function average(sizes: number[]): number {
  return sizes.reduce((sum, size) => sum + size, 0) / Math.max(1, sizes.length);
}
