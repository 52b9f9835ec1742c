import { domainToASCII } from 'node:url';
import { isAllowed, type NetworkPolicy, parseAddress } from '../network/networks.ts';
import { readUrl } from '../network/read-url.ts';
import type { Parsed, Problem } from '../problem.ts';
import { textProblem } from '../text.ts';
import type { OpenAlertTarget } from './alert.ts';

/** A target as its owner gives it: exactly one of its kinds. */
export interface AlertTargetInput {
  webhook?: { url: string } | null | undefined;
  email?: { address: string } | null | undefined;
  slack?: { url: string } | null | undefined;
  discord?: { url: string } | null | undefined;
  ntfy?: { url: string; topic: string; token?: string | null | undefined } | null | undefined;
}

/** A target without what the server adds: the signing secret of a webhook. */
export type GivenAlertTarget = { kind: 'WEBHOOK'; url: string } | Exclude<OpenAlertTarget, { kind: 'WEBHOOK' }>;

export const TARGET_URL_LENGTH_MAX = 2_000;
/** As long as a path in SMTP may be, without its brackets (RFC 5321, section 4.5.3.1.3). */
export const EMAIL_ADDRESS_LENGTH_MAX = 254;
export const NTFY_TOKEN_LENGTH_MAX = 200;

/**
 * The target in `input`, or what is wrong with it, at paths that begin with "target". `policy` is
 * ALERT_ALLOW.
 */
export function parseTarget(input: AlertTargetInput, policy: NetworkPolicy): Parsed<GivenAlertTarget> {
  const { webhook, email, slack, discord, ntfy } = input;
  const given = [webhook, email, slack, discord, ntfy].filter((kind) => kind !== undefined && kind !== null);
  if (given.length !== 1) return failed(['target'], 'must be exactly one of webhook, email, slack, discord and ntfy.');
  if (webhook) return withUrl('WEBHOOK', ['target', 'webhook', 'url'], webhook.url, policy);
  if (slack) return withUrl('SLACK', ['target', 'slack', 'url'], slack.url, policy);
  if (discord) return withUrl('DISCORD', ['target', 'discord', 'url'], discord.url, policy);
  if (email) return parseEmail(email.address);
  if (ntfy) return parseNtfy(ntfy, policy);
  return failed(['target'], 'must be exactly one of webhook, email, slack, discord and ntfy.');
}

/**
 * A target for people: the address of an e-mail, otherwise the host and the last four characters of
 * what is secret. A short secret is not shown at all: four characters would be most of it.
 */
export function shownTarget(target: GivenAlertTarget | OpenAlertTarget): string {
  if (target.kind === 'EMAIL') return target.address;
  const url = readUrl(target.url);
  const secret = target.kind === 'NTFY' ? target.topic : `${url?.pathname.slice(1) ?? ''}${url?.search ?? ''}`;
  const end = secret.length < SHOWN_OF_LENGTH_MIN ? '' : secret.slice(-4);
  return `${url?.host ?? ''}/…${end}`;
}

const SHOWN_OF_LENGTH_MIN = 12;

function failed(path: string[], message: string): { problems: Problem[] } {
  return { problems: [{ path, message }] };
}

function withUrl(
  kind: 'WEBHOOK' | 'SLACK' | 'DISCORD',
  path: string[],
  text: string,
  policy: NetworkPolicy,
): Parsed<GivenAlertTarget> {
  const url = parseUrl(text, policy);
  return typeof url === 'string' ? failed(path, url) : { value: { kind, url: url.href } };
}

/** The URL without its fragment, which nobody sends, or what is wrong with it. */
function parseUrl(text: string, policy: NetworkPolicy): URL | string {
  if (text.length > TARGET_URL_LENGTH_MAX) return `must have at most ${TARGET_URL_LENGTH_MAX} characters.`;
  const problem = textProblem(text);
  if (problem !== undefined) return `${problem}.`;
  // A URL parser would leave some of them out.
  if (/[\p{Cc}\s]/u.test(text)) return 'must not contain spaces, line breaks or other control characters.';
  const url = readUrl(text);
  if (url === undefined || !/^https?:\/\//i.test(text) || url.hostname === '')
    return 'must be a URL that begins with https://, such as https://hooks.example.com/alerts.';
  if (url.username !== '' || url.password !== '')
    return 'must not contain a user name or password: put a secret into the path or the query.';
  url.hash = '';
  if (url.href.length > TARGET_URL_LENGTH_MAX)
    return `must have at most ${TARGET_URL_LENGTH_MAX} characters, with the encoding of its special ones.`;
  if (isRetired(url))
    return 'is a connector of Office 365, and Microsoft has retired those: create a webhook with the app Workflows in Teams.';
  if (url.protocol === 'http:' && !mayBePlain(url, policy))
    return "must begin with https://: http:// is for loopback and private networks alone, where the operator's setting ALERT_ALLOW allows them.";
  return url;
}

/**
 * Incoming webhooks of Teams that were connectors of Office 365. Microsoft has ended them, so a
 * message to one is lost.
 */
function isRetired({ hostname, pathname }: URL): boolean {
  const host = hostname.replace(/\.$/, '');
  if (host === 'webhook.office.com' || host.endsWith('.webhook.office.com')) return true;
  const isOutlook = host === 'outlook.office.com' || host === 'outlook.office365.com';
  return isOutlook && /^\/webhook/i.test(pathname);
}

/**
 * Whether a URL may go without TLS. An address must be one that is not public and that the policy
 * admits. Of a name, the form decides: each attempt judges the addresses again.
 */
function mayBePlain({ hostname }: URL, policy: NetworkPolicy): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (parseAddress(host) !== undefined) return isAllowed(policy, host) && !isAllowed(PUBLIC, host);
  const reachesOthers = policy.words.has('private') || policy.words.has('loopback') || policy.networks.length > 0;
  return reachesOthers && (!host.includes('.') || PRIVATE_NAMES.test(host));
}

const PUBLIC: NetworkPolicy = { words: new Set(['public']), networks: [] };
/**
 * Names that no public name server has: RFC 6761 (localhost), RFC 6762 (local), RFC 8375
 * (home.arpa), ICANN's reserved "internal", and what routers call their network.
 */
const PRIVATE_NAMES = /\.(localhost|local|internal|lan|home\.arpa|intranet|corp|home)$/;

function parseEmail(address: string): Parsed<GivenAlertTarget> {
  const path = ['target', 'email', 'address'];
  if (address.length > EMAIL_ADDRESS_LENGTH_MAX)
    return failed(path, `must have at most ${EMAIL_ADDRESS_LENGTH_MAX} characters.`);
  const problem = textProblem(address);
  if (problem !== undefined) return failed(path, `${problem}.`);
  const [, local = '', domain = ''] = /^([^@]+)@([^@]+)$/.exec(address) ?? [];
  if (!LOCAL_PART.test(local) || local.length > LOCAL_PART_LENGTH_MAX || !isDomain(domain))
    return failed(path, 'must be one address and nothing else, such as ops@example.com.');
  return { value: { kind: 'EMAIL', address } };
}

/** As in RFC 5321 without quotes, and with the letters of all languages (RFC 6531). */
const LOCAL_PART = /^[\p{L}\p{M}\p{N}!#$%&'*+/=?^_`{|}~-]+(\.[\p{L}\p{M}\p{N}!#$%&'*+/=?^_`{|}~-]+)*$/u;
const LOCAL_PART_LENGTH_MAX = 64;
const DOMAIN = /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;

function isDomain(text: string): boolean {
  return /^[\p{L}\p{M}\p{N}.-]+$/u.test(text) && DOMAIN.test(domainToASCII(text));
}

function parseNtfy(
  { url: text, topic, token }: { url: string; topic: string; token?: string | null | undefined },
  policy: NetworkPolicy,
): Parsed<GivenAlertTarget> {
  const problems: Problem[] = [];
  const add = (field: string, message: string) => problems.push({ path: ['target', 'ntfy', field], message });
  const url = parseUrl(text, policy);
  if (typeof url === 'string') add('url', url);
  else if (url.search !== '')
    add('url', 'must be the address of the server alone, without a query: such as https://ntfy.sh.');
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(topic)) add('topic', 'must be 1 to 64 letters, digits, "_" and "-".');
  const isToken = token === undefined || token === null || /^[\x21-\x7e]+$/.test(token);
  if (!isToken) add('token', 'must be printable ASCII without spaces, such as tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2.');
  else if ((token?.length ?? 0) > NTFY_TOKEN_LENGTH_MAX)
    add('token', `must have at most ${NTFY_TOKEN_LENGTH_MAX} characters.`);
  if (typeof url === 'string' || problems.length > 0) return { problems };
  return { value: { kind: 'NTFY', url: url.href, topic, token: token ?? undefined } };
}
