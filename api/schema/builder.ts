import SchemaBuilder from '@pothos/core';
import type { Context } from '../context.ts';

/** What every file of types adds to. Fields cannot be null unless they say so. */
export const builder = new SchemaBuilder<{
  Context: Context;
  DefaultFieldNullability: false;
  Scalars: {
    ID: { Input: string; Output: string };
    DateTime: { Input: Date; Output: Date | string };
  };
}>({ defaultFieldNullability: false });

builder.queryType({ description: 'What can be read. All but `viewer` and `system` needs to be signed in.' });
builder.mutationType({ description: 'What can be changed. What a caller can mend is told in `userErrors`.' });
builder.subscriptionType({ description: 'What can be followed live, over WebSocket or as server-sent events.' });
