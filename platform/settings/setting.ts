import { z } from 'zod';

/** One setting: how its text is read, and what a person should know about it. */
export interface Setting<T> {
  /** Parses the text of the environment. Its messages complete the sentence "NAME must be ...". */
  schema: z.ZodType<T, string>;
  /** The text that applies if none is given. Without it, the setting is then absent. */
  default?: string;
  /** Describes the default in docs/operate/settings.md and --help if it is not a fixed text. */
  defaultMeans?: string;
  /** What it does, for docs/operate/settings.md and --help. */
  means: string;
  example: string;
  /** Never shown, not even if it is wrong: it is a secret, or may contain one. */
  secret?: boolean;
}

export const setting = <T>(definition: Setting<T>): Setting<T> => definition;
export const withDefault = <T>(definition: Setting<T> & { default: string }): Setting<T> & { default: string } =>
  definition;

export function trueOrFalse() {
  return z.enum(['true', 'false'], 'true or false').transform((text) => text === 'true');
}

/**
 * Its metadata contains `min` and `max`, for `rangeOf` and for a test that tries both with each
 * setting.
 */
export function wholeNumber(min: number, max: number) {
  const wanted = `a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,10}$/, wanted)
    .transform(Number)
    .refine((value) => value >= min && value <= max, wanted)
    .meta({ min, max });
}

export function decimal(min: number, max: number) {
  const wanted = `a number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,10}(\.\d{1,3})?$/, wanted)
    .transform(Number)
    .refine((value) => value >= min && value <= max, wanted)
    .meta({ min, max });
}

/**
 * What the setting may be: the range of a number as people write it, "1 to 65,535", or the words
 * that there are. Undefined if the setting is neither.
 */
export function rangeOf({ schema }: Setting<unknown>): string | undefined {
  const words = schema instanceof z.ZodPipe ? schema.in : schema;
  if (words instanceof z.ZodEnum) return words.options.join(', ');
  const range = NumberRange.safeParse(schema.meta());
  if (!range.success) return undefined;
  const [min, max] = [range.data.min, range.data.max].map((value) => value.toLocaleString('en-US'));
  return `${min} to ${max}`;
}

const NumberRange = z.object({ min: z.number(), max: z.number() });
