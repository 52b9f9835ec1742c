import { type DocumentNode, getOperationAST, Kind, type OperationDefinitionNode } from 'graphql';
import { failure, shortened } from '../errors.ts';

/** The operation of a document that runs. Throws OPERATION_RESOLUTION_FAILURE. */
export function chosenOperation(document: DocumentNode, name: string | null | undefined): OperationDefinitionNode {
  const operation = getOperationAST(document, name);
  if (operation) return operation;
  throw failure('OPERATION_RESOLUTION_FAILURE', problemOf(document, name), { http: { status: 400 } });
}

function problemOf({ definitions }: DocumentNode, name: string | null | undefined): string {
  const operations = definitions.flatMap((node) => (node.kind === Kind.OPERATION_DEFINITION ? [node] : []));
  if (operations.length === 0)
    return 'The document has no operation: it must have a query, a mutation or a subscription.';
  if (typeof name !== 'string') return 'The document has several operations: name one of them in `operationName`.';
  const names = operations.flatMap((operation) => operation.name?.value ?? []).slice(0, NAMES_SHOWN_MAX);
  const known = names.length === 0 ? 'its operation has no name' : `it has ${names.map(shortened).join(', ')}`;
  return `The document has no operation named ${JSON.stringify(shortened(name))}: ${known}.`;
}

const NAMES_SHOWN_MAX = 5;
