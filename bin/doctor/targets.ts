import { parseDatabaseUrl } from '../../platform/postgres/address.ts';
import type { Settings } from '../../platform/settings/parse.ts';
import type { Target } from './probe.ts';

const METADATA = '169.254.169.254';
const REDIS_PORT = 6379;

/**
 * What no container should reach. A part on this machine's loopback is looked for on the engine's
 * host, because both are often the same machine.
 */
export function targetsOf(settings: Settings, gateway: string): Target[] {
  const at = (what: string, host: string, port: number): Target => {
    const isLocal = /^(localhost|127\.[\d.]+|\[?::1?\]?|0\.0\.0\.0)$/.test(host);
    return { what: isLocal ? `${what} through the host of the engine` : what, host: isLocal ? gateway : host, port };
  };
  const ofUrl = (what: string, text: string | undefined, port: number): Target[] => {
    if (text === undefined) return [];
    const url = new URL(text);
    return url.hostname === '' ? [] : [at(what, url.hostname.replace(/^\[|\]$/g, ''), Number(url.port) || port)];
  };
  const brokers = (settings.kafkaBrokers ?? []).map((broker) => {
    const colon = broker.lastIndexOf(':');
    return at('Kafka', broker.slice(0, colon).replace(/^\[|\]$/g, ''), Number(broker.slice(colon + 1)));
  });
  const database = settings.databaseUrl === undefined ? '' : parseDatabaseUrl(settings.databaseUrl);
  // A Unix socket is in no container.
  const databases = typeof database === 'string' || database.host.startsWith('/') ? [] : [database];
  return [
    at("the cloud's metadata", METADATA, 80),
    ...databases.map(({ host, port }) => at('the database', host, port)),
    ...ofUrl('Redis', settings.redisUrl, REDIS_PORT),
    ...brokers,
    ...(settings.port === 0 ? [] : [at('the api', settings.host, settings.port)]),
    { what: 'the shell of the host of the engine', host: gateway, port: 22 },
    { what: 'the Docker engine itself', host: gateway, port: 2375 },
  ];
}
