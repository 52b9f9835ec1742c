import { alerts } from './alerts.ts';
import { graphql } from './graphql/main.ts';
import { type Benchmark, print } from './harness.ts';
import { heartbeats } from './heartbeats.ts';
import { history } from './history.ts';
import { logs } from './logs/main.ts';
import { scheduling } from './scheduling.ts';
import { watchers } from './watchers/main.ts';

const BENCHMARKS: Benchmark[] = [scheduling, heartbeats, history, logs, graphql, watchers, alerts];

const [wanted] = process.argv.slice(2);
const chosen = BENCHMARKS.filter(({ name }) => wanted === undefined || name === wanted);
const missing = ['DATABASE_URL', 'KAFKA_BROKERS', 'REDIS_URL'].filter((name) => !process.env[name]);
if (chosen.length === 0) {
  console.error(`There is no benchmark "${wanted}". There are: ${BENCHMARKS.map(({ name }) => name).join(', ')}.`);
  process.exitCode = 2;
} else if (missing.length > 0) {
  console.error(
    `${missing.join(', ')} not set: start the real parts with \`npm run services\`, then \`eval "$(npm run --silent services -- env)"\`.`,
  );
  process.exitCode = 2;
} else {
  for (const benchmark of chosen) {
    console.log(`# ${benchmark.name}: ${benchmark.describe}`);
    print(await benchmark.run((text) => console.log(`  ... ${text}`)));
  }
}
