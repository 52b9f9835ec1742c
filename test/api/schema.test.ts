import { readFile } from 'node:fs/promises';
import {
  buildSchema,
  type GraphQLField,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  isSpecifiedScalarType,
  isUnionType,
  lexicographicSortSchema,
  printSchema,
} from 'graphql';
import { describe, expect, test } from 'vitest';
import { schema } from '../../api/schema/schema.ts';

describe('the schema', () => {
  test('is what schema.graphql says (after a change: npx vitest run test/api/schema.test.ts -u)', async () => {
    await expect(`${printSchema(lexicographicSortSchema(schema))}\n`).toMatchFileSnapshot('../../schema.graphql');
  });

  test('contains every name of the contract with its type', async () => {
    const contract = membersOf(await contractSchema());
    const ours = membersOf(schema);
    const missing = [...contract.keys()].filter((name) => !ours.has(name));
    expect(missing).toEqual([]);
    for (const [name, type] of contract) expect(`${name}: ${ours.get(name)}`).toBe(`${name}: ${type}`);
  });

  test('describes every type, field, argument and value', () => {
    const without = [...descriptionsOf(schema)].filter(([, description]) => !description?.trim()).map(([name]) => name);
    expect(without).toEqual([]);
  });
});

/** The contract describes the connection types only in a sentence, so this adds them. */
async function contractSchema(): Promise<GraphQLSchema> {
  const text = await readFile(new URL('./contract.graphql', import.meta.url), 'utf8');
  const connections = ['Workflow', 'Job', 'LogLine', 'Notification'].map(
    (name) => `
      type ${name}Connection { edges: [${name}Edge!]! nodes: [${name}!]! pageInfo: PageInfo! }
      type ${name}Edge { cursor: String! node: ${name}! }`,
  );
  const pageInfo =
    'type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }';
  return buildSchema([text, pageInfo, ...connections].join('\n'));
}

function membersOf(of: GraphQLSchema): Map<string, string> {
  const members = new Map<string, string>();
  const addField = (owner: string, field: GraphQLField<unknown, unknown>) => {
    members.set(`${owner}.${field.name}`, String(field.type));
    for (const arg of field.args) members.set(`${owner}.${field.name}(${arg.name})`, String(arg.type));
  };
  for (const type of typesOf(of)) {
    members.set(type.name, kindOf(type));
    if (isObjectType(type) || isInterfaceType(type))
      for (const field of Object.values(type.getFields())) addField(type.name, field);
    if (isInputObjectType(type)) {
      for (const field of Object.values(type.getFields()))
        members.set(`${type.name}.${field.name}`, String(field.type));
    }
    if (isUnionType(type)) for (const { name } of type.getTypes()) members.set(`${type.name} = ${name}`, 'member');
    if (isEnumType(type)) for (const { name } of type.getValues()) members.set(`${type.name}.${name}`, 'value');
  }
  return members;
}

function* descriptionsOf(of: GraphQLSchema): Generator<[string, string | null | undefined]> {
  for (const type of typesOf(of)) {
    yield [type.name, type.description];
    if (isEnumType(type)) for (const value of type.getValues()) yield [`${type.name}.${value.name}`, value.description];
    if (isInputObjectType(type)) {
      for (const field of Object.values(type.getFields())) yield [`${type.name}.${field.name}`, field.description];
    }
    if (!isObjectType(type) && !isInterfaceType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      yield [`${type.name}.${field.name}`, field.description];
      for (const arg of field.args) yield [`${type.name}.${field.name}(${arg.name})`, arg.description];
    }
  }
}

function typesOf(of: GraphQLSchema) {
  return Object.values(of.getTypeMap()).filter((type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type));
}

function kindOf(type: object): string {
  const interfaces = isObjectType(type) ? type.getInterfaces().map(({ name }) => name) : [];
  const oneOf = isInputObjectType(type) && type.isOneOf ? ' oneOf' : '';
  return `${type.constructor.name}${oneOf} ${interfaces.join(' ')}`;
}
