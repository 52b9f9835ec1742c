import { randomBytes } from 'node:crypto';
import type { Sealer } from '../payload/secret.ts';
import type { OpenAlertTarget } from './alert.ts';
import type { AlertChannelKind } from './states.ts';

/** What a channel stores of its target. */
export interface AlertChannelConfig {
  /** For people: the address of an e-mail, otherwise the host and a little of the end. */
  shown: string;
  sealed: Partial<Record<SealedPart, string>>;
  /** Until this instant, messages are signed with the secret before too. */
  oldSecretUntil?: string;
}
export type SealedPart = 'url' | 'topic' | 'token' | 'secret' | 'oldSecret';

/** The code that an e-mail channel waits for. */
export interface Confirmation {
  /** Sealed. */
  code: string;
  expiresAt: string;
  triesLeft: number;
}

/** For how long a rotated signing secret is still valid. */
export const OLD_SECRET_HOURS = 24;

/** Where a part of a channel's config, or its code, stands. */
export function alertChannelPlace(channelId: string, part: SealedPart | 'code'): string {
  return `${channelId}\nalert channel\n${part}`;
}

/** A new signing secret, as Standard Webhooks writes it. */
export function newSigningSecret(): string {
  return `whsec_${randomBytes(32).toString('base64')}`;
}

/** The stored form of a target. A webhook has its signing secret in `secrets`. */
export function sealTarget(
  sealer: Sealer,
  channelId: string,
  target: OpenAlertTarget,
  shown: string,
): AlertChannelConfig {
  const [secret] = target.kind === 'WEBHOOK' ? target.secrets : [];
  const parts: Partial<Record<SealedPart, string | undefined>> =
    target.kind === 'EMAIL'
      ? {}
      : target.kind === 'NTFY'
        ? { url: target.url, topic: target.topic, token: target.token }
        : { url: target.url, secret };
  const sealed = Object.entries(parts).flatMap(([part, text]) =>
    text === undefined ? [] : [[part, sealer.seal(text, alertChannelPlace(channelId, part as SealedPart))] as const],
  );
  return { shown, sealed: Object.fromEntries(sealed) };
}

/** The target that a channel stores. Throws an UnreadableSecret. */
export function openTarget(
  sealer: Sealer,
  { id, kind, config }: { id: string; kind: AlertChannelKind; config: AlertChannelConfig },
  now = new Date(),
): OpenAlertTarget {
  const open = (part: SealedPart): string | undefined => {
    const sealed = config.sealed[part];
    return sealed === undefined ? undefined : sealer.open(sealed, alertChannelPlace(id, part));
  };
  if (kind === 'EMAIL') return { kind, address: config.shown };
  const url = open('url') ?? '';
  if (kind === 'NTFY') return { kind, url, topic: open('topic') ?? '', token: open('token') };
  if (kind !== 'WEBHOOK') return { kind, url };
  const isOldValid = config.oldSecretUntil !== undefined && new Date(config.oldSecretUntil) > now;
  const secrets = [open('secret'), isOldValid ? open('oldSecret') : undefined];
  return { kind, url, secrets: secrets.filter((secret) => secret !== undefined) };
}

/**
 * The config with another signing secret. The one before stays valid for a while; the one before
 * that ends.
 */
export function rotateSecret(
  sealer: Sealer,
  { id, config }: { id: string; config: AlertChannelConfig },
  secret: string,
  now = new Date(),
): AlertChannelConfig {
  const present = config.sealed.secret;
  const old = present && sealer.open(present, alertChannelPlace(id, 'secret'));
  const seal = (part: SealedPart, text: string) => ({ [part]: sealer.seal(text, alertChannelPlace(id, part)) });
  return {
    ...config,
    sealed: { ...config.sealed, ...seal('secret', secret), ...(old ? seal('oldSecret', old) : {}) },
    oldSecretUntil: new Date(now.getTime() + OLD_SECRET_HOURS * 3_600_000).toISOString(),
  };
}

/** Passes each sealed text of a channel through `change`. */
export function changeSealedConfig(
  channelId: string,
  config: AlertChannelConfig,
  change: (sealed: string, place: string) => string,
): AlertChannelConfig {
  const sealed = Object.entries(config.sealed).map(
    ([part, text]) => [part, change(text, alertChannelPlace(channelId, part as SealedPart))] as const,
  );
  return { ...config, sealed: Object.fromEntries(sealed) };
}
