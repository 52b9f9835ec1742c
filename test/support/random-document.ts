import {
  type GraphQLArgument,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isCompositeType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isRequiredArgument,
} from 'graphql';

/** A source of choices that is the same for the same seed. */
export interface Dice {
  /** A whole number from 0 on and below `sides`. */
  roll(sides: number): number;
  /** True in one of `times` cases. */
  oneIn(times: number): boolean;
  pick<T>(items: readonly [T, ...T[]]): T;
}

/** Mulberry32, which has a sequence of its own for each seed. */
export function diceOf(seed: number): Dice {
  let state = seed >>> 0;
  const roll = (sides: number) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % sides;
  };
  return {
    roll,
    oneIn: (times) => roll(times) === 0,
    pick: <T>(items: readonly [T, ...T[]]) => items[roll(items.length)] ?? items[0],
  };
}

export interface RandomDocument {
  query: string;
  operationName: string | undefined;
  variables: Record<string, unknown>;
}

interface Options {
  /** How deep objects lie in objects at most. */
  depth: number;
  /** Whether a field may be asked for. */
  allows?(on: string, field: string): boolean;
  /** The text of a value of this argument, if it is no random one. */
  given?(argument: GraphQLArgument, dice: Dice): string | undefined;
}

/**
 * A query of a schema with what documents can have: aliases, fields that are asked for again with
 * other parts of their objects, fragments in fragments, directives, arguments with constants and
 * variables, and sometimes a second operation. It may break a rule of validation.
 */
export function randomDocument(schema: GraphQLSchema, dice: Dice, options: Options): RandomDocument {
  return new Writer(schema, dice, options).write();
}

class Writer {
  readonly #schema: GraphQLSchema;
  readonly #dice: Dice;
  readonly #options: Options;
  readonly #fragments: string[] = [];
  readonly #declared: string[] = [];
  readonly #variables: Record<string, unknown> = {};
  readonly #hasDirectives: boolean;
  #partsLeft = PARTS_MAX;

  constructor(schema: GraphQLSchema, dice: Dice, options: Options) {
    this.#schema = schema;
    this.#dice = dice;
    this.#options = options;
    this.#hasDirectives = dice.oneIn(6);
  }

  write(): RandomDocument {
    const query = this.#schema.getQueryType();
    if (!query) throw new Error('The schema has no queries.');
    const selection = this.#selectionOf(query, this.#options.depth);
    const declared = this.#declared.length === 0 ? '' : `(${this.#declared.join(' ')})`;
    const hasOther = this.#dice.oneIn(5);
    const other = hasOther ? 'query Other { __typename }' : '';
    const text = [`query Main${declared} ${selection}`, other, ...this.#fragments].filter((part) => part !== '');
    return {
      query: text.join('\n'),
      operationName: hasOther || this.#dice.oneIn(3) ? 'Main' : undefined,
      variables: this.#variables,
    };
  }

  #selectionOf(on: GraphQLCompositeType, depth: number): string {
    const parts: string[] = [];
    for (let count = 1 + this.#dice.roll(4); count > 0; count--) parts.push(this.#partOf(on, depth));
    return `{ ${parts.join(' ')} }`;
  }

  #partOf(on: GraphQLCompositeType, depth: number): string {
    const dice = this.#dice;
    this.#partsLeft -= 1;
    if (this.#partsLeft < 0) return '__typename';
    if (dice.oneIn(8)) return `${dice.oneIn(2) ? 'kind: ' : ''}__typename${this.#directive()}`;
    if (dice.oneIn(5)) return `... ${this.#directive()} ${this.#selectionOf(on, depth)}`;
    const narrowed = dice.pick(this.#narrowed(on));
    if (isAbstractType(on) ? dice.oneIn(2) : dice.oneIn(6))
      return `... on ${narrowed.name}${this.#directive()} ${this.#selectionOf(narrowed, depth)}`;
    if (dice.oneIn(7)) return this.#spreadOf(narrowed, depth);
    return this.#fieldOf(on, depth);
  }

  /** The types that a fragment within a selection of this type can be of. */
  #narrowed(on: GraphQLCompositeType): readonly [GraphQLCompositeType, ...GraphQLCompositeType[]] {
    if (isAbstractType(on)) return [on, ...this.#schema.getPossibleTypes(on)];
    return [on, ...on.getInterfaces()];
  }

  #spreadOf(on: GraphQLCompositeType, depth: number): string {
    const selection = this.#selectionOf(on, depth);
    const name = `F${this.#fragments.length}`;
    this.#fragments.push(`fragment ${name} on ${on.name} ${selection}`);
    return Array.from({ length: 1 + this.#dice.roll(2) }, () => `...${name}${this.#directive()}`).join(' ');
  }

  #fieldOf(on: GraphQLCompositeType, depth: number): string {
    const fields = 'getFields' in on ? Object.values(on.getFields()) : [];
    const allowed = fields.filter(
      ({ name, type }) =>
        (this.#options.allows?.(on.name, name) ?? true) && (depth > 0 || !isCompositeType(getNamedType(type))),
    );
    const [first, ...rest] = allowed;
    if (first === undefined) return '__typename';
    return this.#shown(this.#dice.pick([first, ...rest]), depth);
  }

  #shown(field: GraphQLField<unknown, unknown>, depth: number): string {
    const type = getNamedType(field.type);
    const given = field.args.flatMap((argument) => {
      if (!isRequiredArgument(argument) && !this.#dice.oneIn(3)) return [];
      const value = this.#options.given?.(argument, this.#dice) ?? this.#value(argument.type);
      return [`${argument.name}: ${value}`];
    });
    const args = given.length === 0 ? '' : `(${given.join(', ')})`;
    // A field without arguments may come again, to be merged. With some, it would be another one.
    const alias = given.length > 0 || this.#dice.oneIn(4) ? `a${this.#dice.roll(100_000)}: ` : '';
    const parts = isCompositeType(type) ? ` ${this.#selectionOf(type, depth - 1)}` : '';
    return `${alias}${field.name}${args}${this.#directive()}${parts}`;
  }

  #directive(): string {
    if (!this.#hasDirectives || !this.#dice.oneIn(4)) return '';
    const name = this.#dice.pick(['skip', 'include']);
    const isTrue = this.#dice.oneIn(2);
    if (this.#dice.oneIn(2)) return ` @${name}(if: ${isTrue})`;
    return ` @${name}(if: ${this.#variable('Boolean!', isTrue, String(isTrue))})`;
  }

  #value(type: GraphQLInputType): string {
    const dice = this.#dice;
    if (dice.oneIn(3)) {
      const wrong = dice.pick([null, 'odd', 1.5, true, { odd: 1 }]);
      const value = dice.oneIn(8) ? wrong : jsonOf(type, dice);
      return this.#variable(String(type), value, dice.oneIn(3) ? literalOf(type, dice) : undefined);
    }
    return literalOf(type, dice);
  }

  /** Declares a variable, which may have a default value and lack a value. */
  #variable(type: string, value: unknown, standard: string | undefined): string {
    const name = `v${this.#declared.length}`;
    this.#declared.push(`$${name}: ${type}${standard === undefined ? '' : ` = ${standard}`}`);
    if (!this.#dice.oneIn(standard === undefined ? 8 : 2)) this.#variables[name] = value;
    return `$${name}`;
  }
}

const PARTS_MAX = 40;

/** A value of an input type as JSON. */
function jsonOf(type: GraphQLInputType, dice: Dice): unknown {
  if (isNonNullType(type)) return jsonOf(type.ofType, dice);
  if (isListType(type)) return dice.oneIn(4) ? jsonOf(type.ofType, dice) : [0, 1].map(() => jsonOf(type.ofType, dice));
  if (isEnumType(type)) return type.getValues()[dice.roll(type.getValues().length)]?.name;
  if (isInputObjectType(type))
    return Object.fromEntries(
      Object.values(type.getFields())
        .filter((field) => isNonNullType(field.type) || dice.oneIn(3))
        .map((field) => [field.name, jsonOf(field.type, dice)]),
    );
  if (type.name === 'Int') return 1 + dice.roll(3);
  if (type.name === 'Boolean') return dice.oneIn(2);
  if (type.name === 'DateTime') return '2026-01-31T12:00:00.000Z';
  return dice.pick(['a', 'b', '1']);
}

/** The same as a literal. */
function literalOf(type: GraphQLInputType, dice: Dice): string {
  return !isNonNullType(type) && dice.oneIn(10) ? 'null' : printed(type, jsonOf(type, dice));
}

function printed(type: GraphQLInputType, value: unknown): string {
  if (isNonNullType(type)) return printed(type.ofType, value);
  if (isListType(type))
    return Array.isArray(value)
      ? `[${value.map((item) => printed(type.ofType, item)).join()}]`
      : printed(type.ofType, value);
  if (isInputObjectType(type) && typeof value === 'object' && value !== null) {
    const fields = type.getFields();
    const parts = Object.entries(value).flatMap(([name, part]) => {
      const field = fields[name];
      return field === undefined ? [] : [`${name}: ${printed(field.type, part)}`];
    });
    return `{ ${parts.join(', ')} }`;
  }
  return isEnumType(type) && typeof value === 'string' ? value : (JSON.stringify(value) ?? 'null');
}
