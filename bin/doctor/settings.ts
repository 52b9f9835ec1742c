import { matchesImage } from '../../domain/images/registry-allow.ts';
import type { Settings } from '../../platform/settings/parse.ts';
import { isExposed, isLoopback } from '../exposure.ts';
import { type Finding, fine, unsafe } from './finding.ts';

/**
 * Finds settings that are unsafe by themselves. With DATABASE_URL, the check assumes users who do
 * not know each other. With an embedded database, it assumes that the owner is the only user,
 * unless others reach the api and sign-up is open.
 */
export function settingsFindings(settings: Settings): Finding[] {
  const listens = !isLoopback(settings.host);
  const isReached = isExposed(settings);
  const isShared = settings.databaseUrl !== undefined || (isReached && settings.signUp === 'open');
  const problems = [
    ...accounts(settings, isReached),
    ...links(settings, listens),
    ...(isShared ? sharing(settings) : []),
  ];
  return problems.length > 0 ? problems.map(unsafe) : [fine('The settings hold nothing that is known to be unsafe.')];
}

function* accounts({ signUp }: Settings, isReached: boolean): Generator<string> {
  if (signUp === 'open' && isReached)
    yield 'SIGN_UP is open, and the api is reached by others: anybody makes an account and runs containers. Set SIGN_UP=first or closed.';
}

function* links(settings: Settings, listens: boolean): Generator<string> {
  const { databaseUrl, secretKey, publicUrl, trustProxy, host, dockerHost, dockerTls, redisUrl } = settings;
  if (databaseUrl !== undefined && secretKey === undefined)
    yield 'SECRET_KEY is missing: with a database of its own no process starts without it. Set it to 32 random bytes.';
  if (publicUrl?.startsWith('http://') && !isLoopback(new URL(publicUrl).hostname))
    yield `PUBLIC_URL is ${publicUrl}: passwords and tokens cross the network in the clear. Put a proxy with TLS in front, and name its https address.`;
  if (listens && publicUrl === undefined)
    yield `HOST is ${host} and PUBLIC_URL is not set: the api listens to others without TLS. Listen on loopback behind a proxy with TLS, and set PUBLIC_URL.`;
  if (typeof trustProxy === 'number' && trustProxy > 0 && listens)
    yield `TRUST_PROXY is a number (${trustProxy}) and HOST is ${host}: who connects past the proxy is believed to be any address, and limits by address are gone. Name the networks of your proxies instead.`;
  if (dockerHost !== undefined && !dockerHost.startsWith('unix://')) {
    const url = new URL(dockerHost);
    if (dockerTls === undefined && url.protocol !== 'https:' && !isLoopback(url.hostname))
      yield `DOCKER_HOST is ${url.host} without TLS: who reaches that address has the machine of the engine.`;
  }
  if (redisUrl !== undefined) {
    const url = new URL(redisUrl);
    if (url.password === '' && !isLoopback(url.hostname))
      yield `REDIS_URL has no password and ${url.host} is no loopback address: everybody who reaches it takes part in this installation.`;
  }
}

/** Users share the networks of the processes. */
function* sharing({ heartbeatAllow, alertAllow, registryAllow, localImages }: Settings): Generator<string> {
  const wide = [...heartbeatAllow.words].filter((word) => word !== 'public');
  if (wide.length > 0)
    yield `HEARTBEAT_ALLOW has ${wide.join(' and ')}: users reach services beside this installation, databases among them. Set HEARTBEAT_ALLOW=public, with the networks that they need.`;
  const alerts = [...alertAllow.words].filter((word) => word !== 'public');
  if (alerts.length > 0)
    yield `ALERT_ALLOW has ${alerts.join(' and ')}: the alerts of users reach services beside this installation. Set ALERT_ALLOW=public, with the networks that they need.`;
  const registries = [...registryAllow.networks.words].filter((word) => word !== 'public');
  if (registries.length > 0)
    yield `REGISTRY_ALLOW has ${registries.join(' and ')}: users send the engine to services beside it. Name the registries instead.`;
  if (ODD_IMAGES.every((image) => matchesImage(localImages, image)))
    yield 'LOCAL_IMAGES allows all images on the engine: each user may run what another has pulled or the operator keeps there. Name those that all may use.';
}

/** Only a pattern for all images matches both. */
const ODD_IMAGES = ['one.invalid/any/image:1', 'two.invalid/other:2'];
