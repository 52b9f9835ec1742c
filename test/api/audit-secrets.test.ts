import {
  type GraphQLInputType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
} from 'graphql';
import { expect, test } from 'vitest';
import { schema } from '../../api/schema/schema.ts';
import { auditChanges } from '../../domain/account/audit.ts';
import { newId } from '../../domain/ids.ts';

const SECRET = 's3cr3t';
/**
 * Names show which object was changed, so events show them: the names of workflows, tokens,
 * variables, headers and volumes.
 */
const NAMES = new Set(['name']);

/** A value with all fields. Every text that is not a name contains the secret. */
function full(type: GraphQLInputType, name: string): unknown {
  const nullable = getNullableType(type);
  if (isListType(nullable)) return [full(nullable.ofType, name), full(nullable.ofType, name)];
  if (isEnumType(nullable)) return nullable.getValues()[0]?.value;
  if (isInputObjectType(nullable))
    return Object.fromEntries(
      Object.values(nullable.getFields()).map((field) => [field.name, full(field.type, field.name)]),
    );
  if (nullable.name === 'ID') return newId();
  if (nullable.name === 'DateTime') return new Date();
  if (nullable.name === 'Boolean') return true;
  if (nullable.name === 'String') return NAMES.has(name) ? 'a name' : SECRET;
  return 1;
}

const inputs = Object.values(schema.getMutationType()?.getFields() ?? {}).flatMap(({ name, args }) =>
  args.map(({ type }) => [name, type] as const),
);

test.each(inputs)('the event of %s contains no text of the input except names, and names each field', (_, type) => {
  const bare = isNonNullType(type) ? type.ofType : type;
  const input = full(type, 'input');
  if (typeof input !== 'object' || input === null || !isInputObjectType(bare)) throw new Error('It takes no input.');
  const changes = auditChanges(input);
  expect(JSON.stringify(changes)).not.toContain(SECRET);
  const fields = new Set(changes.map(({ field }) => field.split('.')[0]));
  expect([...fields].toSorted()).toEqual(Object.keys(bare.getFields()).toSorted());
});
