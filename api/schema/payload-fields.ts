import type { InputFieldRef } from '@pothos/core';
import type { builder } from './builder.ts';

/**
 * The fields of an input type that is one of domain/payload/typed-input.ts, no more and no fewer:
 * one that the table of payload fields (domain/payload/fields.ts) does not have does not compile,
 * nor one of another type, nor its absence.
 */
export type InputFields<Input> = { [Name in keyof Input]-?: InputFieldRef<SchemaTypes, Input[Name]> };

type SchemaTypes = typeof builder.$inferSchemaTypes;

/** The type of a field that is given; for a list, the type of an item. */
export type One<Value> = NonNullable<Value> extends (infer Item)[] ? Item : NonNullable<Value>;

export const SECRET_DESCRIPTION =
  'Whether the value is a secret: encrypted at rest, and never returned. Defaults to false. In an update, a secret without a value keeps its stored value.';
