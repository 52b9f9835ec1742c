import SchemaBuilder from '@pothos/core';
import type { Context } from '../context.ts';

/**
 * The builder that every file here adds its types and fields to. Fields are non-null unless they
 * say otherwise.
 */
export const builder = new SchemaBuilder<{
  Context: Context;
  DefaultFieldNullability: false;
  Scalars: {
    ID: { Input: string; Output: string };
    DateTime: { Input: Date; Output: Date | string };
  };
}>({ defaultFieldNullability: false });

builder.queryType({ description: 'Read operations. All fields except `viewer` and `system` need a token.' });
builder.mutationType({
  description: 'Write operations. Problems that the caller can fix are in `userErrors` of the payload.',
});
builder.subscriptionType({
  description: 'Live streams, over WebSocket or server-sent events. All of them need a token.',
});
