import { defaultFieldResolver, type GraphQLField, type GraphQLSchema, getNamedType, isObjectType } from 'graphql';
import type { Context } from '../context.ts';
import { changeValues } from './resolver.ts';

/** The types whose rows change while an answer is made, and are reached on several ways. */
const CHANGING = new Set(['Workflow', 'Job', 'Build']);

/**
 * Makes each answer show one state of a workflow, a job or a build, on whatever way the answer
 * reaches it. Each mutation of a request begins anew, because it changes them.
 */
export function showOneState(schema: GraphQLSchema): GraphQLSchema {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type)) continue;
    for (const field of Object.values(type.getFields()))
      if (type === schema.getMutationType()) beginAnew(field);
      else if (CHANGING.has(getNamedType(field.type).name)) changeValues(field, shown);
  }
  return schema;
}

function shown(value: unknown, { rows }: Context): unknown {
  return Array.isArray(value) ? value.map((row) => rows.shown(row)) : rows.shown(value);
}

function beginAnew(field: GraphQLField<unknown, Context>): void {
  const { resolve = defaultFieldResolver } = field;
  field.resolve = (source, args, context, info) => {
    context.rows.clear();
    return resolve(source, args, context, info);
  };
}
