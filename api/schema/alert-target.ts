import { createHash, randomInt, timingSafeEqual } from 'node:crypto';
import type { TargetChange } from '../../db/alert-channels/channels.ts';
import type { AlertChannelRow } from '../../db/schema.ts';
import type { OpenAlertTarget } from '../../domain/alerts/alert.ts';
import {
  type AlertChannelConfig,
  alertChannelPlace,
  newSigningSecret,
  openTarget,
  rotateSecret,
  sealTarget,
} from '../../domain/alerts/config.ts';
import { type GivenAlertTarget, shownTarget } from '../../domain/alerts/target.ts';
import type { NetworkPolicy } from '../../domain/network/networks.ts';
import { type Sealer, UnreadableSecret } from '../../domain/payload/secret.ts';
import type { ApiSettings } from '../settings.ts';
import { builder } from './builder.ts';
import type { UserErrorShape } from './user-error.ts';

const URL_DESCRIPTION =
  'A URL that begins with https://. http:// is for loopback and private networks alone, where ALERT_ALLOW, a setting of the installation, allows them.';

const WebhookTargetInput = builder.inputType('WebhookTargetInput', {
  description: 'A URL that gets each alert as a POST with a JSON body, signed as Standard Webhooks says.',
  fields: (t) => ({ url: t.string({ required: true, description: URL_DESCRIPTION }) }),
});

const EmailTargetInput = builder.inputType('EmailTargetInput', {
  description: 'An e-mail address. It gets nothing but a code until it is confirmed.',
  fields: (t) => ({
    address: t.string({ required: true, description: 'One address, such as "ops@example.com".' }),
  }),
});

const UrlTargetInput = builder.inputType('UrlTargetInput', {
  description: 'An incoming webhook of a chat service.',
  fields: (t) => ({ url: t.string({ required: true, description: `${URL_DESCRIPTION} It is a secret.` }) }),
});

const NtfyTargetInput = builder.inputType('NtfyTargetInput', {
  description: 'A topic of an ntfy server.',
  fields: (t) => ({
    url: t.string({ required: true, description: `The server, such as "https://ntfy.sh". ${URL_DESCRIPTION}` }),
    topic: t.string({ required: true, description: 'The topic: 1 to 64 letters, digits, "_" and "-".' }),
    token: t.string({ description: 'The access token, if the topic needs one. In an update, left out means none.' }),
  }),
});

export const AlertTargetInput = builder.inputType('AlertTargetInput', {
  description: 'Where a channel sends. Give exactly one of these fields.',
  isOneOf: true,
  fields: (t) => ({
    webhook: t.field({ type: WebhookTargetInput, description: 'For a channel of the kind WEBHOOK.' }),
    email: t.field({ type: EmailTargetInput, description: 'For a channel of the kind EMAIL.' }),
    slack: t.field({ type: UrlTargetInput, description: 'For a channel of the kind SLACK.' }),
    discord: t.field({ type: UrlTargetInput, description: 'For a channel of the kind DISCORD.' }),
    ntfy: t.field({ type: NtfyTargetInput, description: 'For a channel of the kind NTFY.' }),
  }),
});

/** The networks that targets may name over http. */
export function alertAllow({ alertAllow: policy = PUBLIC }: ApiSettings): NetworkPolicy {
  return policy;
}

const PUBLIC: NetworkPolicy = { words: new Set(['public']), networks: [] };

/** The refusal of e-mail on an installation that sends none. */
export function emailProblem({ emailReady }: ApiSettings, path: string[] | null): UserErrorShape | undefined {
  if (emailReady) return undefined;
  const message =
    'This installation sends no e-mail: its operator has to set SMTP_URL and MAIL_FROM. Choose another kind of channel.';
  return { code: 'NOT_READY', message, path };
}

/** The config of a new channel. `secret` is what a webhook signs with; nobody can read it again. */
export function newConfig(
  sealer: Sealer,
  channelId: string,
  given: GivenAlertTarget,
): { config: AlertChannelConfig; secret: string | undefined } {
  const secret = given.kind === 'WEBHOOK' ? newSigningSecret() : undefined;
  return { config: sealTarget(sealer, channelId, opened(given, secret), shownTarget(given)), secret };
}

function opened(given: GivenAlertTarget, secret?: string): OpenAlertTarget {
  return given.kind === 'WEBHOOK' ? { ...given, secrets: secret === undefined ? [] : [secret] } : given;
}

/** The change to another target. A webhook keeps its signing secrets. */
export function targetChange(sealer: Sealer, channelId: string, given: GivenAlertTarget): TargetChange {
  return {
    kind: given.kind,
    code: given.kind === 'EMAIL' ? newCode(sealer, channelId) : undefined,
    from(stored) {
      if (isTarget(sealer, stored, given)) return undefined;
      const { secret, oldSecret } = stored.config.sealed;
      const { shown, sealed } = sealTarget(sealer, stored.id, opened(given), shownTarget(given));
      const kept = { ...(secret ? { secret } : {}), ...(oldSecret ? { oldSecret } : {}) };
      return { ...stored.config, shown, sealed: { ...kept, ...sealed } };
    },
  };
}

/** Whether a channel sends there already. One that cannot be read sends nowhere. */
function isTarget(sealer: Sealer, stored: AlertChannelRow, given: GivenAlertTarget): boolean {
  const present = orUnreadable(() => openTarget(sealer, stored));
  if (present === undefined || present.kind !== given.kind) return false;
  const texts = (target: GivenAlertTarget | OpenAlertTarget) =>
    target.kind === 'EMAIL'
      ? [target.address]
      : target.kind === 'NTFY'
        ? [target.url, target.topic, target.token ?? null]
        : [target.url];
  return JSON.stringify(texts(present)) === JSON.stringify(texts(given));
}

/** The config with another signing secret. Those that cannot be read any more end at once. */
export function rotatedConfig(sealer: Sealer, stored: AlertChannelRow, secret: string): AlertChannelConfig {
  const rotated = orUnreadable(() => rotateSecret(sealer, stored, secret));
  if (rotated !== undefined) return rotated;
  const { secret: _, oldSecret: __, ...sealed } = stored.config.sealed;
  return rotateSecret(sealer, { ...stored, config: { ...stored.config, sealed } }, secret);
}

function orUnreadable<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof UnreadableSecret) return undefined;
    throw error;
  }
}

export const CODE = /^\d{8}$/;
const CODES = 10 ** 8;

/** A new code for an address, sealed. */
export function newCode(sealer: Sealer, channelId: string): string {
  return sealer.seal(String(randomInt(CODES)).padStart(8, '0'), alertChannelPlace(channelId, 'code'));
}

/** Compares a code in a time that tells nothing of it. One that cannot be read is never right. */
export function isCode(sealer: Sealer, channelId: string, sealed: string, given: string): boolean {
  const code = orUnreadable(() => sealer.open(sealed, alertChannelPlace(channelId, 'code')));
  return code !== undefined && timingSafeEqual(digest(code), digest(given));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
