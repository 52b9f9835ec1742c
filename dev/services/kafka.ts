/** Apache Kafka in KRaft mode from its jars: one process is broker and controller. */
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { fetchJars } from './jars.ts';
import { requireCommand } from './packages.ts';
import type { Part } from './parts.ts';
import type { Launch } from './process.ts';
import { run } from './process.ts';
import { type State, servicesDir } from './state.ts';

const PROBE_MS = 3_000;

export const kafka: Part = {
  name: 'kafka',
  title: 'Apache Kafka',
  needs: [{ command: 'java', debianPackage: 'default-jre-headless' }],
  prepare: (state) => prepareBroker(brokerOf(state)),
  probe: (state) => probeBroker(brokerOf(state)),
  setting: (state) => ['KAFKA_BROKERS', address(brokerOf(state))],
};

function brokerOf({ ports, kafkaClusterId }: State): Broker {
  return {
    dir: join(servicesDir, 'kafka'),
    port: ports.kafka,
    controllerPort: ports.kafkaController,
    clusterId: kafkaClusterId,
  };
}

/**
 * A broker and its controller, with their data in `dir`. Both ports must stay free while it does
 * not run.
 */
export interface Broker {
  dir: string;
  port: number;
  controllerPort: number;
  clusterId: string;
  /** Lines of configuration that replace those of the same name. */
  properties?: string[];
  /** SCRAM users to create with its storage, in the syntax of kafka-storage. */
  scramUsers?: string[];
}

/** Prepares the data and the configuration. One call suffices for any number of starts. */
export async function prepareBroker(broker: Broker): Promise<Launch> {
  const { dir, clusterId, properties = [], scramUsers = [] } = broker;
  await mkdir(dir, { recursive: true });
  const java = await requireCommand('java');
  const config = join(dir, 'server.properties');
  const logging = join(dir, 'log4j2.properties');
  await writeFile(config, [configuration(broker), ...properties].join('\n'));
  await writeFile(logging, LOGGING);
  const options = ['-Xms256m', '-Xmx512m', '-XX:+UseG1GC', `-Dlog4j2.configurationFile=${logging}`];
  // Four thousand characters, which would fill the output of `ps`.
  const env = { CLASSPATH: await fetchJars() };
  if (!(await stat(join(dir, 'data', 'meta.properties')).catch(() => undefined))) {
    const format = [
      'format',
      '--ignore-formatted',
      `--cluster-id=${clusterId}`, // an id may begin with "-", which would be an option
      '-c',
      config,
      ...scramUsers.flatMap((user) => ['--add-scram', user]),
    ];
    await run(java, [...options, 'kafka.tools.StorageTool', ...format], { env: { ...process.env, ...env } });
  }
  return { command: java, args: [...options, 'kafka.Kafka', config], env };
}

/** Resolves when the broker serves a request; throws if it does not (yet). */
export async function probeBroker(broker: Broker): Promise<void> {
  const client = new Kafka({
    brokers: [address(broker)],
    logLevel: logLevel.NOTHING,
    connectionTimeout: PROBE_MS,
    requestTimeout: PROBE_MS,
    retry: { retries: 0 },
  });
  const admin = client.admin();
  try {
    await admin.connect();
    const { brokers } = await admin.describeCluster();
    if (brokers.length !== 1) throw new Error('The broker has not joined its own cluster yet.');
  } finally {
    await admin.disconnect();
  }
}

export function address({ port }: Pick<Broker, 'port'>): string {
  return `127.0.0.1:${port}`;
}

/**
 * Replication 1, because there is one broker. A group does not wait for other members, which would
 * cost each join 3 s. A killed broker can return when its old session has ended: the session
 * timeout is 3 s here, and 9 s by default.
 */
function configuration({ dir, port, controllerPort }: Broker): string {
  return `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${controllerPort}
listeners=PLAINTEXT://${address({ port })},CONTROLLER://127.0.0.1:${controllerPort}
advertised.listeners=PLAINTEXT://${address({ port })}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=${join(dir, 'data')}
num.partitions=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
`;
}

const LOGGING = `rootLogger.level=WARN
rootLogger.appenderRef.stdout.ref=stdout
appender.stdout.type=Console
appender.stdout.name=stdout
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d{ISO8601} %p %m (%c)%n
`;
