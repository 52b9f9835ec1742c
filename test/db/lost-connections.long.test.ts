import { once } from 'node:events';
import { createServer, connect as dial, type Socket } from 'node:net';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, type Db } from '../../db/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';

/**
 * The number of bytes from the server before the cut. They cover the sign-in of three connections,
 * or a round of work on established connections.
 */
const CUTS = [
  ...Array.from({ length: 15 }, (_, index) => ({ signedIn: false, bytes: 1 + index * 997 })),
  ...Array.from({ length: 40 }, (_, index) => ({ signedIn: true, bytes: 1 + index * 79 })),
];
const AGAIN_MS_MAX = 10_000;

let database: TestDatabase;
let cutter: Cutter;

beforeAll(async () => {
  database = await testDatabase();
  await database.db.execute(sql`CREATE TABLE halves (pair text, half int, PRIMARY KEY (pair, half))`);
  const { hostname, port } = new URL(database.url);
  cutter = await cutterTo(hostname, Number(port || 5432));
});

afterAll(async () => {
  await cutter?.close();
  await database?.close();
});

describe('a pool whose connections are lost', () => {
  test.each(['reset', 'closed'] as const)(
    'settles every call, breaks no transaction in two, and continues: %s at any instant',
    async (how) => {
      const settled: string[] = [];
      for (const { signedIn, bytes } of CUTS) {
        const through = new URL(database.url);
        through.host = `127.0.0.1:${cutter.port}`;
        const { db, close } = connect(through.href, { max: 3, application: 'chronoverse-test' });
        if (signedIn) await answers(db);
        cutter.cutAfter(bytes, how);
        settled.push(...(await within(work(db, `${how}-${signedIn}-${bytes}`), `the work, cut after ${bytes} bytes`)));
        await expect
          // Some of the lost are not yet known to be.
          .poll(() => answers(db).catch(String), { timeout: AGAIN_MS_MAX })
          .toEqual([...Array(20).keys()]);
        await close();
      }
      const [row] = await database.db.execute<{ broken: number }>(sql`
        SELECT count(*)::int AS broken FROM (SELECT pair FROM halves GROUP BY pair HAVING count(*) <> 2) AS half_of_them`);
      expect(row?.broken).toBe(0);
      // Otherwise the test would have tried nothing.
      expect(settled).toEqual(expect.arrayContaining(['fulfilled', 'rejected']));
    },
  );
});

/**
 * Runs statements alone and in transactions, some of which continue after a wait. Returns how each
 * has settled.
 */
async function work(db: Db, name: string): Promise<string[]> {
  const rows = (count: number) =>
    db.execute(sql`SELECT i, repeat('x', 50) FROM generate_series(1, ${count}::int) AS i`);
  const both = (pair: string) =>
    db.transaction(async (transaction) => {
      await transaction.execute(sql`INSERT INTO halves VALUES (${pair}, 1)`);
      await transaction.execute(sql`SELECT pg_sleep(0.002)`);
      // Like another part of the program, which reconnects meanwhile.
      await rows(1).catch(() => undefined);
      await transaction.execute(sql`INSERT INTO halves VALUES (${pair}, 2)`);
    });
  const settled: string[] = [];
  for (let round = 0; cutter.willCut(); round++) {
    const all = await Promise.allSettled([
      rows(1),
      both(`${name}-${round}-a`),
      rows(9),
      both(`${name}-${round}-b`),
      rows(3),
    ]);
    settled.push(...all.map(({ status }) => status));
  }
  return settled;
}

async function answers(db: Db): Promise<number[]> {
  const all = Array.from({ length: 20 }, async (_, index) => {
    const [row] = await db.execute<{ i: number }>(sql`SELECT ${index}::int AS i`);
    return row?.i ?? -1;
  });
  return Promise.all(all);
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not settled after ${AGAIN_MS_MAX} ms`)), AGAIN_MS_MAX);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

interface Cutter {
  port: number;
  /** Cuts all connections when the server has sent so many bytes in total. */
  cutAfter(bytes: number, how: 'reset' | 'closed'): void;
  willCut(): boolean;
  close(): Promise<void>;
}

async function cutterTo(host: string, port: number): Promise<Cutter> {
  const clients = new Set<Socket>();
  let left = Number.POSITIVE_INFINITY;
  let how: 'reset' | 'closed' = 'closed';
  const server = createServer((client) => {
    clients.add(client);
    const upstream = dial(port, host);
    client.on('error', () => client.destroy()).on('close', () => clients.delete(client) && upstream.destroy());
    upstream.on('error', () => upstream.destroy()).on('close', () => client.destroy());
    client.pipe(upstream);
    upstream.on('data', (data) => {
      client.write(data.subarray(0, left));
      left -= data.length;
      if (left <= 0) cut();
    });
  });

  function cut(): void {
    left = Number.POSITIVE_INFINITY;
    for (const client of clients) {
      if (how === 'reset') client.resetAndDestroy();
      else client.end();
    }
  }

  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cutAfter(bytes, next) {
      left = bytes;
      how = next;
    },
    willCut: () => left !== Number.POSITIVE_INFINITY,
    async close() {
      for (const client of clients) client.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
