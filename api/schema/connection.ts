import type { ObjectRef } from '@pothos/core';
import { PAGE_SIZE, PAGE_SIZE_MAX, type Page } from '../paging.ts';
import { builder } from './builder.ts';

type Types = typeof builder.$inferSchemaTypes;

interface PageInfoShape {
  hasNextPage: boolean;
  hasPreviousPage: boolean;
  startCursor: string | undefined;
  endCursor: string | undefined;
}

const PageInfo = builder.objectRef<PageInfoShape>('PageInfo');
PageInfo.implement({
  description: 'Where a page lies in its list.',
  fields: (t) => ({
    hasNextPage: t.exposeBoolean('hasNextPage', { description: 'Whether there is more after it.' }),
    hasPreviousPage: t.exposeBoolean('hasPreviousPage', { description: 'Whether there is more before it.' }),
    startCursor: t.exposeString('startCursor', {
      nullable: true,
      description: 'To be given as `before` for what is before it.',
    }),
    endCursor: t.exposeString('endCursor', {
      nullable: true,
      description: 'To be given as `after` for what is after it.',
    }),
  }),
});

/** The types `XConnection` and `XEdge` of a node type, whose rows are `Node`. */
export function connectionOf<Node extends object>(node: ObjectRef<Types, object>, name: string, order: string) {
  const edge = builder.objectRef<{ cursor: string; node: Node }>(`${name}Edge`);
  edge.implement({
    description: `A ${name} in a list.`,
    fields: (t) => ({
      cursor: t.exposeString('cursor', { description: 'Its place in the list.' }),
      node: t.field({ type: node, description: `The ${name}.`, resolve: (shown) => shown.node }),
    }),
  });
  const connection = builder.objectRef<Page<Node>>(`${name}Connection`);
  return connection.implement({
    description: `A page of a list of ${name}s, ${order}.`,
    fields: (t) => ({
      edges: t.field({
        type: [edge],
        description: 'What is on the page, with cursors.',
        resolve: (page) => page.edges,
      }),
      nodes: t.field({
        type: [node],
        description: 'What is on the page.',
        resolve: (page): object[] => page.edges.map((shown) => shown.node),
      }),
      pageInfo: t.field({
        type: PageInfo,
        description: 'Where the page lies.',
        resolve: ({ edges, hasNextPage, hasPreviousPage, startCursor, endCursor }) => ({
          hasNextPage,
          hasPreviousPage,
          startCursor: startCursor ?? edges[0]?.cursor,
          endCursor: endCursor ?? edges.at(-1)?.cursor,
        }),
      }),
    }),
  });
}

/** `first`, `after`, `last` and `before`, to be spread into a field's `args`. */
export function pagingArgs(size = PAGE_SIZE, sizeMax = PAGE_SIZE_MAX) {
  return builder.args((t) => ({
    first: t.int({
      description: `How many from the beginning (or \`after\`) on: 1 to ${sizeMax}; ${size} unless given.`,
    }),
    after: t.string({ description: 'A cursor: what comes after it.' }),
    last: t.int({
      description: `How many up to the end (or \`before\`): 1 to ${sizeMax}. Not together with \`first\`.`,
    }),
    before: t.string({ description: 'A cursor: what comes before it.' }),
  }));
}
