import { type DocumentNode, type FragmentDefinitionNode, GraphQLError, Kind, type SelectionSetNode } from 'graphql';

/**
 * Why a subscription of the document may not run: its field could be left out, and there would be
 * nothing to subscribe to. The engine takes that for a failure of its own, in its rules or later.
 */
export function conditionalRoots({ definitions }: DocumentNode): GraphQLError[] | undefined {
  const subscriptions = definitions.flatMap((node) =>
    node.kind === Kind.OPERATION_DEFINITION && node.operation === 'subscription' ? [node.selectionSet] : [],
  );
  if (subscriptions.length === 0) return undefined;
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const node of definitions) if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node);
  const sets = new Set<SelectionSetNode>(subscriptions); // grows during the loop
  for (const { selections } of sets) {
    for (const selection of selections) {
      const nodes = selection.directives?.filter(({ name }) => CONDITIONS.has(name.value)) ?? [];
      if (nodes.length > 0) return [new GraphQLError(PROBLEM, { nodes })];
      if (selection.kind === Kind.FIELD) continue;
      const within = selection.kind === Kind.FRAGMENT_SPREAD ? fragments.get(selection.name.value) : selection;
      if (within) sets.add(within.selectionSet);
    }
  }
  return undefined;
}

const CONDITIONS = new Set(['skip', 'include']);
const PROBLEM = 'The field of a subscription must not be skipped: use `@skip` and `@include` within its selection.';
