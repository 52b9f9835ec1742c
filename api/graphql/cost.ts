import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLError,
  type GraphQLField,
  type GraphQLSchema,
  getNamedType,
  isCompositeType,
  isInterfaceType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  SchemaMetaFieldDef,
  type SelectionSetNode,
  TypeMetaFieldDef,
  valueFromASTUntyped,
} from 'graphql';
import { failure } from '../errors.ts';
import { LOG_PAGE_SIZE_MAX } from '../logs/page.ts';
import { FieldCost } from '../schema/cost.ts';
import { introspectionListSize } from './introspection.ts';

export interface Operation {
  schema: GraphQLSchema;
  document: DocumentNode;
  operationName?: string | null | undefined;
  variableValues?: { readonly [name: string]: unknown } | null | undefined;
}

/** The highest cost of an operation, for callers who are signed in and for others. */
export const COST_MAX = 50_000;
export const ANONYMOUS_COST_MAX = 30_000;

/** The error for an operation that costs too much. Undefined if it does not. */
export function costProblem(cost: number, isAnonymous: boolean): GraphQLError | undefined {
  const max = isAnonymous ? ANONYMOUS_COST_MAX : COST_MAX;
  if (cost <= max) return undefined;
  return failure(
    'BAD_REQUEST',
    `The operation costs ${Math.ceil(cost)} values, and ${max} are allowed${isAnonymous ? ' without signing in' : ''}: ask for smaller pages, fewer fields, or fewer logs (docs/use/graphql.md says what costs how much).`,
  );
}

/**
 * The cost of an operation: how many values its answer may hold, and what some fields cost besides
 * (api/schema/cost.ts). A list multiplies the cost of its items by the size of the requested page;
 * a list of introspection by its size in this schema. It is computed when the variables are known,
 * because they can hold page sizes.
 */
export function operationCost({ schema, document, operationName, variableValues }: Operation): number {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  }
  // Each fragment is walked once, however often it is spread.
  const counted = new Map<string, number>();
  let variables: { [name: string]: unknown } = {};

  /** `via` is the name of the field that led to the type. */
  function ofSelections({ selections }: SelectionSetNode, type: GraphQLCompositeType, via?: string): number {
    return selections.reduce((sum, selection) => {
      if (selection.kind === Kind.FIELD) return sum + ofField(selection, type, via);
      if (selection.kind === Kind.FRAGMENT_SPREAD) return sum + ofFragment(selection.name.value, via);
      return sum + ofSelections(selection.selectionSet, typeNamed(selection.typeCondition?.name.value) ?? type, via);
    }, 0);
  }

  function ofFragment(name: string, via: string | undefined): number {
    const fragment = fragments.get(name);
    const type = typeNamed(fragment?.typeCondition.name.value);
    if (!fragment || !type) return 0;
    const key = `${via ?? ''} ${name}`;
    const known = counted.get(key);
    if (known !== undefined) return known;
    counted.set(key, 0); // validation has refused cycles
    const cost = ofSelections(fragment.selectionSet, type, via);
    counted.set(key, cost);
    return cost;
  }

  function ofField(field: FieldNode, parent: GraphQLCompositeType, via: string | undefined): number {
    const definition = definitionOf(parent, field.name.value);
    if (!definition) return 1;
    if (perPageCost(definition) > 0) return 0; // perPageOf adds it
    const own = ownCost(field, definition);
    const type = getNamedType(definition.type);
    if (!isCompositeType(type) || !field.selectionSet) return own;
    const { pageSize, perItem, itemsOf, itemsMax } = costOf(definition);
    const size =
      pageSize !== undefined
        ? pageSizeOf(field, pageSize)
        : itemsOf !== undefined
          ? listedIn(field, itemsOf, itemsMax)
          : (introspectionListSize(schema, via, parent.name, field.name.value) ?? itemsMax);
    const item = perItem + ofSelections(field.selectionSet, type, field.name.value);
    return own + size * item + perPageOf(field.selectionSet, type);
  }

  /** What the fields of a page itself cost, which are not there for each of its items. */
  function perPageOf({ selections }: SelectionSetNode, type: GraphQLCompositeType): number {
    return selections.reduce((sum, selection) => {
      if (selection.kind === Kind.INLINE_FRAGMENT) return sum + perPageOf(selection.selectionSet, type);
      if (selection.kind === Kind.FIELD) return sum + perPageCost(definitionOf(type, selection.name.value));
      const key = `perPage ${selection.name.value}`;
      const known = counted.get(key);
      if (known !== undefined) return sum + known;
      counted.set(key, 0);
      const fragment = fragments.get(selection.name.value);
      const on = typeNamed(fragment?.typeCondition.name.value);
      const cost = fragment && on ? perPageOf(fragment.selectionSet, on) : 0;
      counted.set(key, cost);
      return sum + cost;
    }, 0);
  }

  function definitionOf(parent: GraphQLCompositeType, name: string): GraphQLField<unknown, unknown> | undefined {
    if (name === SchemaMetaFieldDef.name) return SchemaMetaFieldDef;
    if (name === TypeMetaFieldDef.name) return TypeMetaFieldDef;
    return isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[name] : undefined;
  }

  function ownCost(field: FieldNode, definition: GraphQLField<unknown, unknown>): number {
    const { base, given } = costOf(definition);
    const isDearer = field.arguments?.some(
      ({ name, value }) =>
        given?.arguments.includes(name.value) && (valueFromASTUntyped(value, variables) ?? null) !== null,
    );
    return base + (given && isDearer ? given.cost : 0);
  }

  function pageSizeOf(field: FieldNode, standard: number): number {
    const sizes = (field.arguments ?? [])
      .filter(({ name }) => name.value === 'first' || name.value === 'last')
      .map(({ value }) => valueFromASTUntyped(value, variables))
      .filter((size) => typeof size === 'number');
    // The field itself refuses other sizes.
    return sizes.length === 0 ? standard : Math.min(LOG_PAGE_SIZE_MAX, Math.max(1, ...sizes));
  }

  /** The length of a list that the caller gives. The field itself refuses longer ones. */
  function listedIn(field: FieldNode, argument: string, max: number): number {
    const given = field.arguments?.find(({ name }) => name.value === argument);
    const value = given && valueFromASTUntyped(given.value, variables);
    return Array.isArray(value) ? Math.min(value.length, max) : 1;
  }

  function typeNamed(name: string | undefined): GraphQLCompositeType | undefined {
    const type = name === undefined ? undefined : schema.getType(name);
    return type && isCompositeType(type) ? type : undefined;
  }

  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
    if (operationName && definition.name?.value !== operationName) continue;
    variables = { ...defaultsOf(definition), ...variableValues };
    const root = schema.getRootType(definition.operation);
    if (root) return ofSelections(definition.selectionSet, root);
  }
  return 0;
}

function costOf({ extensions }: GraphQLField<unknown, unknown>): FieldCost {
  return extensions.cost instanceof FieldCost ? extensions.cost : ONE_VALUE;
}

function perPageCost(definition: GraphQLField<unknown, unknown> | undefined): number {
  if (definition === undefined) return 0;
  const { base, isPerPage } = costOf(definition);
  return isPerPage ? base : 0;
}

const ONE_VALUE = new FieldCost({});

/** The default values of variables, which can be page sizes. */
function defaultsOf({ variableDefinitions = [] }: OperationDefinitionNode): { [name: string]: unknown } {
  return Object.fromEntries(
    variableDefinitions.flatMap(({ variable, defaultValue }) =>
      defaultValue ? [[variable.name.value, valueFromASTUntyped(defaultValue)]] : [],
    ),
  );
}
