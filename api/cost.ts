import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLError,
  type GraphQLSchema,
  getNamedType,
  isCompositeType,
  isInterfaceType,
  isObjectType,
  Kind,
  type SelectionSetNode,
  type ValueNode,
} from 'graphql';
import { PAGE_SIZE } from './connection.ts';
import { failure } from './errors.ts';
import { LOG_PAGE_SIZE, LOG_PAGE_SIZE_MAX } from './log-page.ts';

export interface Operation {
  schema: GraphQLSchema;
  document: DocumentNode;
  operationName?: string | null | undefined;
  variableValues?: { readonly [name: string]: unknown } | null | undefined;
}

/**
 * Why an operation is refused, or undefined. What counts is how many values the answer may hold: a list multiplies what is inside of it
 * by the size of the page that is asked for. It is counted when the variables are known, because pages hide in them.
 */
export function costProblem(operation: Operation): GraphQLError | undefined {
  const cost = answerValues(operation);
  if (cost <= ANSWER_VALUES_MAX) return undefined;
  return failure(
    'BAD_REQUEST',
    `The answer could hold ${cost} values, and ${ANSWER_VALUES_MAX} are allowed: ask for smaller pages, fewer fields, or fewer logs to be looked through (each counts ${LOOKING_THROUGH}).`,
  );
}

export const ANSWER_VALUES_MAX = 50_000;
/** What a page of a log counts besides, where lines are looked through for it: that may take some tenths of a second, so that a request has 24 of them at most. */
const LOOKING_THROUGH = 2_000;

function answerValues({ schema, document, operationName, variableValues }: Operation): number {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  }
  const counted = new Map<string, number>(); // a fragment that is spread many times is walked once

  function ofSelections({ selections }: SelectionSetNode, type: GraphQLCompositeType): number {
    return selections.reduce((sum, selection) => {
      if (selection.kind === Kind.FIELD) return sum + ofField(selection, type);
      if (selection.kind === Kind.FRAGMENT_SPREAD) return sum + ofFragment(selection.name.value);
      return sum + ofSelections(selection.selectionSet, typeNamed(selection.typeCondition?.name.value) ?? type);
    }, 0);
  }

  function ofFragment(name: string): number {
    const fragment = fragments.get(name);
    const type = typeNamed(fragment?.typeCondition.name.value);
    if (!fragment || !type) return 0;
    const known = counted.get(name);
    if (known !== undefined) return known;
    counted.set(name, 0); // validation has refused cycles already
    const cost = ofSelections(fragment.selectionSet, type);
    counted.set(name, cost);
    return cost;
  }

  function ofField(field: FieldNode, parent: GraphQLCompositeType): number {
    const definition =
      isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[field.name.value] : undefined;
    if (!field.selectionSet || !definition) return 1; // a leaf, or introspection, whose size the schema bounds
    const type = getNamedType(definition.type);
    if (!isCompositeType(type)) return 1;
    const isPaged = definition.args.some(({ name }) => name === 'first');
    const isLog = type.name === 'LogLineConnection';
    const size = isPaged ? pageSizeOf(field, isLog ? LOG_PAGE_SIZE : PAGE_SIZE) : 1;
    return 1 + (isLog && looksThrough(field) ? LOOKING_THROUGH : 0) + size * ofSelections(field.selectionSet, type);
  }

  function looksThrough(field: FieldNode): boolean {
    return (field.arguments ?? []).some(
      ({ name, value }) => (name.value === 'search' || name.value === 'stream') && isGiven(value),
    );
  }

  function isGiven(value: ValueNode): boolean {
    return value.kind === Kind.VARIABLE
      ? (variableValues?.[value.name.value] ?? null) !== null
      : value.kind !== Kind.NULL;
  }

  function pageSizeOf(field: FieldNode, standard: number): number {
    const sizes = (field.arguments ?? [])
      .filter(({ name }) => name.value === 'first' || name.value === 'last')
      .map(({ value }) =>
        value.kind === Kind.INT
          ? Number(value.value)
          : value.kind === Kind.VARIABLE
            ? variableValues?.[value.name.value]
            : undefined,
      )
      .filter((size) => typeof size === 'number');
    return sizes.length === 0 ? standard : Math.min(LOG_PAGE_SIZE_MAX, Math.max(1, ...sizes)); // what is out of bounds the field refuses
  }

  function typeNamed(name: string | undefined): GraphQLCompositeType | undefined {
    const type = name === undefined ? undefined : schema.getType(name);
    return type && isCompositeType(type) ? type : undefined;
  }

  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
    if (operationName && definition.name?.value !== operationName) continue;
    const root = schema.getRootType(definition.operation);
    if (root) return ofSelections(definition.selectionSet, root);
  }
  return 0;
}
