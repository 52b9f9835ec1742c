import type { Order } from '../ordering.ts';
import { builder } from './builder.ts';
import { describedEnum } from './enums.ts';

const OrderDirection = describedEnum('OrderDirection', 'The direction of an order.', ['ASC', 'DESC'] as const, {
  ASC: 'From the smallest on: the oldest first, or from A to Z.',
  DESC: 'From the largest on: the newest first, or from Z to A.',
});

/** What a list can be ordered by, and the order of the list if the caller gives none. */
interface Orders<Field extends string> {
  fields: readonly [Field, ...Field[]];
  descriptions: Record<Field, string>;
  keyTypes: Partial<Record<Field, Order['keyType']>>;
}

/**
 * The input `XOrder` of a list, and the order that it stands for. The first field descends if the
 * caller gives nothing: newest first.
 */
export function orderOf<Field extends string>(name: string, { fields, descriptions, keyTypes }: Orders<Field>) {
  const field = describedEnum(`${name}OrderField`, `What ${name} objects can be ordered by.`, fields, descriptions);
  const input = builder.inputType(`${name}Order`, {
    description: `An order of ${name} objects.`,
    fields: (t) => ({
      field: t.field({ type: field, required: true, description: 'What to order by.' }),
      direction: t.field({
        type: OrderDirection,
        required: true,
        description: 'In which direction. Items with equal values follow by their creation.',
      }),
    }),
  });
  const argument = () =>
    builder.args((t) => ({
      orderBy: t.field({
        type: input,
        description:
          'The order of the list. Defaults to newest first. A cursor can only be used with the order of the list that gave it.',
      }),
    }));
  function asked(given: { field: Field; direction: 'ASC' | 'DESC' } | null | undefined): Order<Field> {
    const { field: by, direction } = given ?? { field: fields[0], direction: 'DESC' };
    return { field: by, ascending: direction === 'ASC', keyType: keyTypes[by] };
  }
  return { argument, asked };
}
