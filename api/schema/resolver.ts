import type { GraphQLField } from 'graphql';
import type { Context } from '../context.ts';

/** How a value of a field is found. */
export type Resolver = (source: unknown, args: Readonly<Record<string, unknown>>, context: Context) => unknown;

/**
 * How a value of a field is found, if no place in a document is needed for that. Undefined for a
 * resolver that declares the fourth parameter, which tells the place.
 */
export function resolverOf({ name, resolve }: GraphQLField<unknown, Context>): Resolver | undefined {
  if (resolve === undefined) return propertyNamed(name);
  return resolve.length > PARAMETERS_MAX ? undefined : (resolve as Resolver);
}

const PARAMETERS_MAX = 3;

function propertyNamed(name: string): Resolver {
  return (source, args, context) => {
    if (typeof source !== 'object' || source === null) return undefined;
    const value: unknown = Reflect.get(source, name);
    return typeof value === 'function' ? value.call(source, args, context) : value;
  };
}

/**
 * Changes what a field resolves to by `change`. What either of them throws becomes a rejection:
 * when an item of a list throws, executors drop the promises of the items before it, and if one of
 * these is rejected later, nobody handles it, and the process ends.
 */
export function changeValues(
  field: GraphQLField<unknown, Context>,
  change: (value: unknown, context: Context) => unknown,
): void {
  const resolve = resolverOf(field);
  if (!resolve) throw new TypeError(`The resolver of ${field.name} must not ask for its place in the document.`);
  field.resolve = (source, args, context) => {
    try {
      const value = resolve(source, args, context);
      if (!(value instanceof Promise)) return change(value, context);
      return value.then((settled: unknown) => change(settled, context));
    } catch (error) {
      return Promise.reject(error);
    }
  };
}
