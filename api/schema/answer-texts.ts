import {
  type GraphQLField,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  isEnumType,
  isListType,
  isObjectType,
  isScalarType,
} from 'graphql';
import type { Context } from '../context.ts';
import { changeValues } from './resolver.ts';

/** Roughly what an item of a list takes in an answer beside its text. */
const ITEM_LENGTH = 4;

/**
 * Counts every text, and every list of values, on the budget of its answer. A document may name one
 * field under many aliases, so what counts is each time that the answer contains it, not that it
 * was read.
 */
export function countAnswerTexts(schema: GraphQLSchema): GraphQLSchema {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || type.name.startsWith('__')) continue;
    for (const field of Object.values(type.getFields())) if (isCounted(field)) changeValues(field, counted);
  }
  return schema;
}

/** Other single values, such as numbers and times, have a short, fixed length. */
function isCounted({ type }: GraphQLField<unknown, Context>): boolean {
  const named = getNamedType(type);
  return named.name === 'String' || (isListType(getNullableType(type)) && (isScalarType(named) || isEnumType(named)));
}

function counted<T>(value: T, { budget }: Context): T {
  if (typeof value === 'string') budget.take(value.length);
  else if (Array.isArray(value)) budget.take(value.reduce((sum, item) => sum + lengthOf(item), 0));
  return value;
}

function lengthOf(item: unknown): number {
  return ITEM_LENGTH + (typeof item === 'string' ? item.length : 0);
}
