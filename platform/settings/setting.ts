import { z } from 'zod';

/** One setting: how its text is read, and what a person should know of it. */
export interface Setting<T> {
  /** From the text of the environment to the value. Its messages complete the sentence "NAME must be ...". */
  schema: z.ZodType<T, string>;
  /** The text that stands in when none is given. Without one the setting is absent. */
  default?: string;
  /** What stands in for `default` in the table of docs/operate/settings.md where no fixed text can. */
  defaultMeans?: string;
  means: string;
  example: string;
  /** Never shown, not even when it is wrong: it is a secret, or may carry one. */
  secret?: boolean;
}

export const setting = <T>(definition: Setting<T>): Setting<T> => definition;
export const withDefault = <T>(definition: Setting<T> & { default: string }): Setting<T> & { default: string } =>
  definition;

export function trueOrFalse() {
  return z.enum(['true', 'false'], 'true or false').transform((text) => text === 'true');
}

/** The `min` and `max` stand in its metadata: a test takes each setting to both. */
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
