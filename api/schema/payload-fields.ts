import type { InputFieldRef } from '@pothos/core';
import { inOrder } from '../../domain/payload/pairs.ts';
import type { SealedSecret } from '../../domain/payload/secret.ts';
import type { builder } from './builder.ts';

/**
 * The fields of an input type that is one of domain/payload/typed-input.ts, no more and no fewer:
 * one that the table of payload fields (domain/payload/fields.ts) does not have does not compile,
 * nor one of another type, nor its absence.
 */
export type InputFields<Input> = { [Name in keyof Input]-?: InputFieldRef<SchemaTypes, Input[Name]> };

/** The fields of the type that reads such an input back: the same names, no more and no fewer. */
export type DefinitionFields<Input> = Record<keyof Input, unknown>;

type SchemaTypes = typeof builder.$inferSchemaTypes;

/** The type of a field that is given; for a list, the type of an item. */
export type One<Value> = NonNullable<Value> extends (infer Item)[] ? Item : NonNullable<Value>;

export const SECRET_DESCRIPTION =
  'Whether the value is a secret: encrypted at rest, and never returned. Defaults to false. In an update, a secret without a value keeps its stored value.';

/** An environment variable or a header as it is read back. */
export interface NamedValue {
  name: string;
  /** Null for a secret. */
  value: string | null;
  secret: boolean;
}

export function namedValues(
  pairs: Record<string, string | SealedSecret> | undefined,
  order: readonly string[] | undefined,
): NamedValue[] | undefined {
  if (pairs === undefined) return undefined;
  return inOrder(Object.entries(pairs), order).map(([name, value]) =>
    typeof value === 'string' ? { name, value, secret: false } : { name, value: null, secret: true },
  );
}
