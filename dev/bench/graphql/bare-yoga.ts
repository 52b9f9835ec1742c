import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createSchema, createYoga } from 'graphql-yoga';

/*
 * The peer of the benchmark: a server with nothing but yoga, which answers a list of 20 objects of
 * the same shape from memory. It knows no callers, no limits and no database.
 */

const JOBS = 20;

const typeDefs = /* GraphQL */ `
  scalar DateTime
  enum JobStatus { PENDING QUEUED RUNNING COMPLETED FAILED CANCELED }
  enum JobTrigger { AUTOMATIC MANUAL }
  enum WorkflowKind { HEARTBEAT CONTAINER }
  enum LogStream { STDOUT STDERR }
  type Workflow { id: ID! name: String! kind: WorkflowKind! }
  type LogLine { number: Int! timestamp: DateTime! stream: LogStream! text: String! }
  type LogLineConnection { nodes: [LogLine!]! }
  type Job {
    id: ID! status: JobStatus! trigger: JobTrigger! attempt: Int!
    scheduledAt: DateTime! startedAt: DateTime completedAt: DateTime
    workflow: Workflow!
    logs(first: Int, last: Int): LogLineConnection!
  }
  type PageInfo { hasNextPage: Boolean! endCursor: String }
  type JobConnection { nodes: [Job!]! pageInfo: PageInfo! }
  type Query { jobs(first: Int): JobConnection! }
`;

const jobs = Array.from({ length: JOBS }, (_, n) => ({
  id: `0199c0de-0000-7000-8000-${String(n).padStart(12, '0')}`,
  status: 'COMPLETED',
  trigger: 'AUTOMATIC',
  attempt: 1,
  scheduledAt: new Date('2026-01-01T00:00:00.000Z').toISOString(),
  startedAt: new Date('2026-01-01T00:00:00.010Z').toISOString(),
  completedAt: new Date('2026-01-01T00:00:00.020Z').toISOString(),
  workflow: { id: `0199c0de-0000-7000-9000-${String(n).padStart(12, '0')}`, name: `workflow ${n}`, kind: 'HEARTBEAT' },
  logs: {
    nodes: [
      { number: 3, timestamp: '2026-01-01T00:00:00.015000000Z', stream: 'STDOUT', text: 'GET / answered 200 in 12 ms' },
    ],
  },
}));

const connection = { nodes: jobs, pageInfo: { hasNextPage: true, endCursor: 'AZnA3gAAcACAAAAAAAAAEw' } };
const yoga = createYoga({
  schema: createSchema({ typeDefs, resolvers: { Query: { jobs: () => connection } } }),
  logging: false,
});

const server = createServer(yoga);
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(JSON.stringify({ event: 'ready', url: `http://127.0.0.1:${port}/graphql` }));
});
process.once('SIGTERM', () => process.exit());
