import {
  type DocumentNode,
  type ExecutionArgs,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLLeafType,
  type GraphQLObjectType,
  type GraphQLOutputType,
  type GraphQLSchema,
  getArgumentValues,
  getOperationAST,
  isAbstractType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  TypeNameMetaFieldDef,
  visit,
} from 'graphql';
import { type Resolver, resolverOf } from '../schema/resolver.ts';
import { needsWholeRow, SUMMARY_FIELDS } from '../schema/summary.ts';

/** What a field resolves to: the type, read once. */
export type Shape = { isNullable: boolean } & (
  | { kind: 'LEAF'; type: GraphQLLeafType }
  | { kind: 'LIST'; of: Shape }
  | { kind: 'OBJECT'; fields: FieldPlan[] }
);

/** One field of the answer, with everything that does not depend on the object that has it. */
export interface FieldPlan {
  /** The name in the answer. */
  key: string;
  nodes: FieldNode[];
  parent: GraphQLObjectType;
  definition: GraphQLField<unknown, unknown>;
  resolve: Resolver;
  /** The arguments, if they are the same in each execution. All of them share these. */
  args: Readonly<Record<string, unknown>> | undefined;
  shape: Shape;
}

export interface OperationPlan {
  operation: OperationDefinitionNode;
  fields: FieldPlan[];
  /** The types of which it shows no more than a summary of their rows (api/schema/summary.ts). */
  summaries: ReadonlySet<string>;
}

/**
 * The plan of an operation: what an executor finds out about its fields, found out once for a
 * document. Undefined for an operation that is left to the executor of the engine: a mutation, one
 * with directives, with introspection, or with fields of interfaces and unions, and one whose
 * fragments make too many fields.
 */
export function planOf({ schema, document, operationName }: ExecutionArgs): OperationPlan | undefined {
  const operation = getOperationAST(document, operationName);
  if (!operation || operation.operation === 'mutation') return undefined;
  const known = plans.get(operation);
  if (known !== undefined) return known ?? undefined;
  const plan = makePlan(schema, document, operation);
  plans.set(operation, plan ?? null);
  return plan;
}

/** Documents are parsed once, so each operation is planned once. Null for one without a plan. */
const plans = new WeakMap<OperationDefinitionNode, OperationPlan | null>();

class Unplanned extends Error {}

function makePlan(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
): OperationPlan | undefined {
  const root = schema.getRootType(operation.operation);
  const allowance = allowanceOf(document);
  if (!root || allowance.fieldsLeft <= 0) return undefined;
  try {
    const planner = new Planner(schema, document, allowance);
    const planned = planner.fieldsOf(root, [operation.selectionSet]);
    return { operation, fields: planned, summaries: planner.summaries };
  } catch (error) {
    if (error instanceof Unplanned) return undefined;
    throw error;
  }
}

/**
 * Fragments in fragments, and in many operations, can make thousands of fields of a few lines, and
 * plans are kept for as long as their documents, whose length alone is limited. So all plans of a
 * document together have at most so many fields for each that is written. A field takes about 200
 * bytes.
 */
const FIELDS_PER_NODE_MAX = 3;

interface Allowance {
  fieldsLeft: number;
}

const allowances = new WeakMap<DocumentNode, Allowance>();

/** How many fields the plans of a document may still have. None if it has directives. */
function allowanceOf(document: DocumentNode): Allowance {
  const known = allowances.get(document);
  if (known) return known;
  let [fields, directives] = [0, 0];
  visit(document, {
    Field: () => {
      fields += 1;
    },
    Directive: () => {
      directives += 1;
    },
  });
  const allowance = { fieldsLeft: directives > 0 ? 0 : fields * FIELDS_PER_NODE_MAX };
  allowances.set(document, allowance);
  return allowance;
}

class Planner {
  readonly #schema: GraphQLSchema;
  readonly #fragments = new Map<string, FragmentDefinitionNode>();
  readonly #summaries = new Set(Object.keys(SUMMARY_FIELDS));
  readonly #allowance: Allowance;

  constructor(schema: GraphQLSchema, document: DocumentNode, allowance: Allowance) {
    this.#schema = schema;
    this.#allowance = allowance;
    for (const definition of document.definitions)
      if (definition.kind === Kind.FRAGMENT_DEFINITION) this.#fragments.set(definition.name.value, definition);
  }

  get summaries(): ReadonlySet<string> {
    return this.#summaries;
  }

  /** The fields that these selections select of an object, in the order in which they are shown. */
  fieldsOf(parent: GraphQLObjectType, sets: SelectionSetNode[]): FieldPlan[] {
    const grouped = new Map<string, [FieldNode, ...FieldNode[]]>();
    const spread = new Set<string>();
    for (const set of sets) this.#collect(parent, set, grouped, spread);
    return [...grouped].map(([key, nodes]) => this.#fieldOf(parent, key, nodes));
  }

  #collect(
    parent: GraphQLObjectType,
    { selections }: SelectionSetNode,
    grouped: Map<string, [FieldNode, ...FieldNode[]]>,
    spread: Set<string>,
  ): void {
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) {
        const key = (selection.alias ?? selection.name).value;
        const before = grouped.get(key);
        if (before) before.push(selection);
        else grouped.set(key, [selection]);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        if (this.#applies(parent, selection.typeCondition?.name.value))
          this.#collect(parent, selection.selectionSet, grouped, spread);
      } else if (!spread.has(selection.name.value)) {
        spread.add(selection.name.value);
        const fragment = this.#fragments.get(selection.name.value);
        if (fragment && this.#applies(parent, fragment.typeCondition.name.value))
          this.#collect(parent, fragment.selectionSet, grouped, spread);
      }
    }
  }

  #applies(parent: GraphQLObjectType, condition: string | undefined): boolean {
    if (condition === undefined || condition === parent.name) return true;
    const type = this.#schema.getType(condition);
    return isAbstractType(type) && this.#schema.isSubType(type, parent);
  }

  #fieldOf(parent: GraphQLObjectType, key: string, nodes: [FieldNode, ...FieldNode[]]): FieldPlan {
    const [node] = nodes;
    const { value: name } = node.name;
    this.#allowance.fieldsLeft -= 1;
    if (this.#allowance.fieldsLeft < 0) throw new Unplanned();
    // An object of JavaScript has no field of this name.
    if (key === '__proto__') throw new Unplanned();
    if (name === TypeNameMetaFieldDef.name) return typeName(parent, key, nodes);
    const definition = parent.getFields()[name];
    if (!definition) throw new Unplanned(); // introspection
    if (needsWholeRow(parent.name, name)) this.#summaries.delete(parent.name);
    const resolve = resolverOf(definition);
    if (!resolve) throw new Unplanned();
    const plan = { key, nodes, parent, definition, resolve };
    return { ...plan, args: constantArgs(definition, node), shape: this.#shapeOf(definition.type, nodes) };
  }

  #shapeOf(given: GraphQLOutputType, nodes: FieldNode[]): Shape {
    const isNullable = !isNonNullType(given);
    const type = isNonNullType(given) ? given.ofType : given;
    if (isLeafType(type)) return leafShape(given, { isNullable, kind: 'LEAF', type });
    if (isListType(type)) return { isNullable, kind: 'LIST', of: this.#shapeOf(type.ofType, nodes) };
    if (!isObjectType(type) || type.isTypeOf) throw new Unplanned();
    const sets = nodes.flatMap(({ selectionSet }) => selectionSet ?? []);
    const fields = this.fieldsOf(type, sets);
    return { isNullable, kind: 'OBJECT', fields };
  }
}

/** One for each type, because most fields are leaves. */
function leafShape(given: GraphQLOutputType, made: Shape): Shape {
  const shape = leafShapes.get(given) ?? made;
  leafShapes.set(given, shape);
  return shape;
}

const leafShapes = new WeakMap<GraphQLOutputType, Shape>();

function typeName(parent: GraphQLObjectType, key: string, nodes: FieldNode[]): FieldPlan {
  const { name } = parent;
  const type = TypeNameMetaFieldDef.type;
  const leaf = isNonNullType(type) && isLeafType(type.ofType) ? type.ofType : undefined;
  if (!leaf) throw new Unplanned();
  const shape: Shape = { isNullable: false, kind: 'LEAF', type: leaf };
  return { key, nodes, parent, definition: TypeNameMetaFieldDef, resolve: () => name, args: NO_ARGS, shape };
}

/** Undefined if the arguments contain variables, or are wrong: then each execution reads them. */
function constantArgs(
  definition: GraphQLField<unknown, unknown>,
  node: FieldNode,
): Readonly<Record<string, unknown>> | undefined {
  if (definition.args.length === 0) return NO_ARGS;
  let isConstant = true;
  for (const argument of node.arguments ?? [])
    visit(argument, {
      Variable: () => {
        isConstant = false;
      },
    });
  if (!isConstant) return undefined;
  try {
    return frozen(getArgumentValues(definition, node));
  } catch {
    return undefined; // the execution reports it, at the place of the field
  }
}

const NO_ARGS: Readonly<Record<string, unknown>> = Object.freeze({});

/** A resolver that changed its arguments would change those of other users. */
function frozen<Value extends object>(value: Value): Value {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) frozen(part);
  return Object.freeze(value);
}
