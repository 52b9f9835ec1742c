import type { z } from 'zod';
import type { Pair } from './pairs.ts';
import type { ContainerFields, HeartbeatFields } from './payload.ts';
import type { RegistryAuth } from './registry-auth.ts';
import type { GivenSecret } from './secret.ts';
import type { ClientCertificate } from './tls-schema.ts';

/** A payload as GraphQL gives it: exactly one of the three. */
export interface PayloadInput {
  heartbeat?: HeartbeatInput | null;
  container?: ContainerInput | null;
  json?: string | null;
}

/** The fields of the tables in fields.ts, in camelCase. */
export type HeartbeatInput = TypedFields<HeartbeatFields>;
export type ContainerInput = TypedFields<ContainerFields>;

export interface PairInput {
  name: string;
  value?: string | null;
  secret?: boolean | null;
}

export interface RegistryAuthInput {
  username: string;
  password: string;
}

export interface ClientCertificateInput {
  certificate: string;
  /** When absent, the stored one is kept. */
  key?: string | null;
}

/** The document that a typed input describes. Environment and headers are lists of pairs in it. */
export function heartbeatDocument({ headers, clientCertificate: client, ...rest }: HeartbeatInput): Document {
  // A key that is left out is kept, as the document says it with {"secret": true}.
  const certificate = client && { ...client, key: client.key ?? { secret: true } };
  return {
    ...withKeys({ ...rest, clientCertificate: certificate }),
    kind: 'HEARTBEAT',
    headers: typedPairs(headers),
  };
}

export function containerDocument({ env, ...rest }: ContainerInput): Document {
  return { ...withKeys(rest), kind: 'CONTAINER', env: typedPairs(env) };
}

export type Document = Record<string, unknown>;

/** The name of a document's key in the typed input. */
export function camelCase(key: string): string {
  return key.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Leaves out nulls, and takes the document's keys: "readOnly" becomes "read_only". */
function withKeys(value: object): Document {
  const given = Object.entries(value).filter(([, one]) => one !== null && one !== undefined);
  return Object.fromEntries(given.map(([name, one]) => [snakeCase(name), keyed(one)]));
}

function keyed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(keyed);
  return typeof value === 'object' && value !== null ? withKeys(value) : value;
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function typedPairs(pairs: PairInput[] | null | undefined): Pair[] | undefined {
  return pairs?.map(({ name, value, secret }, n) => ({
    name,
    value,
    secret: secret === true,
    nameAt: [String(n), 'name'],
    valueAt: [String(n), 'value'],
  }));
}

type TypedFields<Fields extends Record<string, z.ZodType>> = {
  [Key in keyof Fields & string as CamelCase<Key>]?: Typed<NonNullable<z.output<Fields[Key]>>> | null;
};

type Typed<Value> = Value extends Pair[]
  ? PairInput[]
  : Value extends RegistryAuth<GivenSecret>
    ? RegistryAuthInput
    : Value extends ClientCertificate<GivenSecret>
      ? ClientCertificateInput
      : Value extends (infer Item)[]
        ? Typed<Item>[]
        : Value extends object
          ? TypedObject<Value>
          : Value;

type TypedObject<Value> = {
  [Key in keyof Value & string as undefined extends Value[Key] ? never : CamelCase<Key>]: Typed<Value[Key]>;
} & {
  [Key in keyof Value & string as undefined extends Value[Key] ? CamelCase<Key> : never]?: Typed<
    NonNullable<Value[Key]>
  > | null;
};

type CamelCase<Key extends string> = Key extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Key;
