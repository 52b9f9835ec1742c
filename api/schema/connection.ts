import type { ObjectRef } from '@pothos/core';
import { COUNTED_MAX } from '../../domain/limits.ts';
import { type CountedPage, PAGE_SIZE, PAGE_SIZE_MAX, type Page } from '../paging.ts';
import { builder } from './builder.ts';
import { COUNT_COST, cost } from './cost.ts';

type Types = typeof builder.$inferSchemaTypes;

const PageInfo = builder.objectRef<Page<unknown>>('PageInfo');
PageInfo.implement({
  description: 'The position of a page in its list.',
  fields: (t) => ({
    hasNextPage: t.exposeBoolean('hasNextPage', { description: 'Whether there are more items after the page.' }),
    hasPreviousPage: t.exposeBoolean('hasPreviousPage', {
      description: 'Whether there are more items before the page.',
    }),
    startCursor: t.string({
      nullable: true,
      resolve: ({ nodes, cursorOf, startCursor }) => startCursor?.() ?? (nodes.length > 0 ? cursorOf(nodes[0]) : null),
      description: 'Give it as `before` to get the page before this one. Null if the list has nothing to go on from.',
    }),
    endCursor: t.string({
      nullable: true,
      resolve: ({ nodes, cursorOf, endCursor }) => endCursor?.() ?? (nodes.length > 0 ? cursorOf(nodes.at(-1)) : null),
      description: 'Give it as `after` to get the page after this one. Null if the list has nothing to go on from.',
    }),
  }),
});

/** Adds the types `XConnection` and `XEdge` of a node type whose rows are `Node`. */
export function connectionOf<Node extends object, Shape extends Page<Node> = Page<Node>>(
  node: ObjectRef<Types, object>,
  name: string,
  order: string,
) {
  const edge = builder.objectRef<{ cursor: string; node: Node }>(`${name}Edge`);
  edge.implement({
    description: `An item on a page of ${name} objects.`,
    fields: (t) => ({
      cursor: t.exposeString('cursor', {
        description: 'The position of the item in the list, for `after` and `before`.',
      }),
      node: t.field({ type: node, description: 'The item.', resolve: (shown) => shown.node }),
    }),
  });
  const connection = builder.objectRef<Shape>(`${name}Connection`);
  return connection.implement({
    description: `A page of ${name} objects, ${order}.`,
    fields: (t) => ({
      edges: t.field({
        type: [edge],
        description: 'The items on the page, each with its cursor.',
        resolve: ({ nodes, cursorOf }) => nodes.map((node) => ({ cursor: cursorOf(node), node })),
      }),
      nodes: t.field({
        type: [node],
        description: 'The items on the page.',
        resolve: ({ nodes }): object[] => nodes,
      }),
      pageInfo: t.field({
        type: PageInfo,
        description: 'The position of the page in the list.',
        resolve: (page) => page,
      }),
    }),
  });
}

/** The same for a list whose items can be counted. */
export function countedConnectionOf<Node extends object>(node: ObjectRef<Types, object>, name: string, order: string) {
  const connection = connectionOf<Node, CountedPage<Node>>(node, name, order);
  builder.objectFields(connection, (t) => ({
    totalCount: t.int({
      nullable: true,
      description: `How many items the whole list has, on all pages. Null if it has more than ${COUNTED_MAX.toLocaleString('en')}.`,
      extensions: cost({ base: COUNT_COST, isPerPage: true }),
      resolve: async (page) => {
        const count = await page.count();
        return count > COUNTED_MAX ? null : count;
      },
    }),
    hasMore: t.boolean({
      description: `Whether the list has more than ${COUNTED_MAX.toLocaleString('en')} items, which are not counted.`,
      extensions: cost({ base: COUNT_COST, isPerPage: true }),
      resolve: async (page) => (await page.count()) > COUNTED_MAX,
    }),
  }));
  return connection;
}

/** `first` and `after`, to spread into a field's `args`. */
export function forwardPagingArgs(size = PAGE_SIZE, sizeMax = PAGE_SIZE_MAX) {
  return builder.args((t) => ({
    first: t.int({
      description: `How many items from the start, or after \`after\`: 1 to ${sizeMax.toLocaleString('en')}. Defaults to ${size}.`,
    }),
    after: t.string({ description: 'A cursor. Only items after it are returned.' }),
  }));
}

/** The same with `last` and `before`. */
export function pagingArgs(size = PAGE_SIZE, sizeMax = PAGE_SIZE_MAX) {
  return {
    ...forwardPagingArgs(size, sizeMax),
    ...builder.args((t) => ({
      last: t.int({
        description: `How many items from the end, or before \`before\`: 1 to ${sizeMax.toLocaleString('en')}. Not together with \`first\`.`,
      }),
      before: t.string({ description: 'A cursor. Only items before it are returned.' }),
    })),
  };
}
