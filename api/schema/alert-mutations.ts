import {
  type ChannelConfirmed,
  type CodeSent,
  confirmAlertChannel,
  createAlertChannel,
  deleteAlertChannel,
  rotateChannelSecret,
  sendCode,
  type TooManyCodes,
  updateAlertChannel,
} from '../../db/alert-channels/channels.ts';
import { newSigningSecret, OLD_SECRET_HOURS } from '../../domain/alerts/config.ts';
import { DEFAULT_ALERT_EVENTS } from '../../domain/alerts/states.ts';
import { parseTarget } from '../../domain/alerts/target.ts';
import { isId, newId } from '../../domain/ids.ts';
import {
  ALERT_CHANNEL_NAME_LENGTH_MAX,
  ALERT_CHANNELS_PER_USER_MAX,
  CODE_HOURS,
  CODE_TRIES_MAX,
  CODES_PER_USER_PER_DAY,
} from '../../domain/limits.ts';
import type { Problem } from '../../domain/problem.ts';
import { nameProblems } from '../../domain/workflow-input.ts';
import { publishEffects } from '../../platform/publish.ts';
import { rateLimited } from '../errors.ts';
import { AlertChannel, AlertEventEnum } from './alert-channel.ts';
import {
  AlertTargetInput,
  alertAllow,
  CODE,
  emailProblem,
  isCode,
  newCode,
  newConfig,
  rotatedConfig,
  targetChange,
} from './alert-target.ts';
import { mutation } from './mutation.ts';
import { invalid, notFound, refused } from './user-error.ts';

const NAME_DESCRIPTION = `The name of the channel, which its messages show: 1 to ${ALERT_CHANNEL_NAME_LENGTH_MAX} characters in one line.`;
const EVENTS_DESCRIPTION = 'The events that it reports, each once: at least one.';
const DEFAULT_DESCRIPTION = 'Whether workflows use it that have not chosen channels of their own.';
const LOG_DESCRIPTION = 'Whether alerts about a job show the end of its log, without secrets.';
const ID_DESCRIPTION = 'The id of the channel.';
const SECRET_DESCRIPTION = 'It cannot be read again.';

mutation('createAlertChannel', 'WRITE', {
  description: `Creates an alert channel. An e-mail address gets a code first, for \`confirmAlertChannel\`; every other channel is ACTIVE at once. An account may have ${ALERT_CHANNELS_PER_USER_MAX}.`,
  input: (t) => ({
    name: t.string({ required: true, description: NAME_DESCRIPTION }),
    target: t.field({ type: AlertTargetInput, required: true, description: 'Where it sends.' }),
    events: t.field({
      type: [AlertEventEnum],
      description: `${EVENTS_DESCRIPTION} Defaults to ${DEFAULT_ALERT_EVENTS.join(', ')}.`,
    }),
    isDefault: t.boolean({ description: `${DEFAULT_DESCRIPTION} Defaults to true.` }),
    includeLog: t.boolean({ description: `${LOG_DESCRIPTION} Defaults to true.` }),
  }),
  payload: {
    alertChannel: { type: AlertChannel, description: 'The new channel.' },
    secret: {
      type: 'String',
      description: `The secret that a webhook signs its messages with. Null for other kinds. ${SECRET_DESCRIPTION}`,
    },
  },
  resolve: async ({ input, viewer: { user }, context: { services }, change }) => {
    const { settings, sealer } = services;
    const { value: given, problems = [] } = parseTarget(input.target, alertAllow(settings));
    const all = [...channelProblems(input), ...problems];
    if (!given || all.length > 0) return invalid(all);
    const isEmail = given.kind === 'EMAIL';
    const unready = isEmail ? emailProblem(settings, ['target', 'email']) : undefined;
    if (unready) return refused(unready);
    const id = newId();
    const { config, secret } = newConfig(sealer, id, given);
    const channel = {
      ...{ id, userId: user.id, name: input.name, kind: given.kind, config },
      events: [...(input.events ?? DEFAULT_ALERT_EVENTS)],
      isDefault: input.isDefault ?? true,
      includeLog: input.includeLog ?? true,
      code: isEmail ? newCode(sealer, id) : undefined,
    };
    const made = await change(
      (tx) => createAlertChannel(tx, channel),
      ({ outcome }) => (outcome === 'CREATED' ? id : undefined),
    );
    if (made.outcome === 'TOO_MANY_CODES') throw tooManyCodes(made);
    if (made.outcome === 'CREATED') return { alertChannel: made.channel, secret };
    const message = `An account may have ${ALERT_CHANNELS_PER_USER_MAX} alert channels: delete one first.`;
    return refused({ code: 'LIMIT_EXCEEDED', message, path: null });
  },
});

mutation('updateAlertChannel', 'WRITE', {
  description:
    'Changes an alert channel. A new e-mail address must be confirmed, and what waits for the channel is not sent. A webhook keeps its signing secret.',
  input: (t) => ({
    id: t.id({ required: true, description: ID_DESCRIPTION }),
    name: t.string({ description: `${NAME_DESCRIPTION} Left out, it stays.` }),
    target: t.field({
      type: AlertTargetInput,
      description: 'Where it sends, as a whole and of the same kind as before. Left out, it stays.',
    }),
    events: t.field({ type: [AlertEventEnum], description: `${EVENTS_DESCRIPTION} Left out, they stay.` }),
    isDefault: t.boolean({ description: `${DEFAULT_DESCRIPTION} Left out, it stays.` }),
    includeLog: t.boolean({ description: `${LOG_DESCRIPTION} Left out, it stays.` }),
  }),
  payload: { alertChannel: { type: AlertChannel, description: 'The channel after the update.' } },
  resolve: async ({ input, viewer: { user }, context: { services }, change }) => {
    const { settings, sealer } = services;
    const target = input.target ? parseTarget(input.target, alertAllow(settings)) : undefined;
    const problems = [...channelProblems(input), ...(target?.problems ?? [])];
    if (problems.length > 0) return invalid(problems);
    const unready = target?.value?.kind === 'EMAIL' ? emailProblem(settings, ['target', 'email']) : undefined;
    if (unready) return refused(unready);
    if (!isId(input.id)) return notFound('alert channel');
    const id = input.id.toLowerCase();
    const changes = {
      ...{ userId: user.id, id },
      ...(target?.value ? { target: targetChange(sealer, id, target.value) } : {}),
      ...(typeof input.name === 'string' ? { name: input.name } : {}),
      ...(input.events ? { events: [...input.events] } : {}),
      ...(typeof input.isDefault === 'boolean' ? { isDefault: input.isDefault } : {}),
      ...(typeof input.includeLog === 'boolean' ? { includeLog: input.includeLog } : {}),
    };
    const updated = await change(
      (tx) => updateAlertChannel(tx, changes),
      ({ outcome }) => (outcome === 'UPDATED' ? id : undefined),
    );
    switch (updated.outcome) {
      case 'UPDATED':
        return { alertChannel: updated.channel };
      case 'NOT_FOUND':
        return notFound('alert channel');
      case 'TOO_MANY_CODES':
        throw tooManyCodes(updated);
      case 'KIND_CHANGED':
        return invalid([{ path: ['target'], message: 'The kind of a channel cannot change: create another one.' }]);
    }
  },
});

mutation('deleteAlertChannel', 'WRITE', {
  description:
    'Deletes an alert channel. What waits for it is not sent; its deliveries stay readable by id. A workflow that has chosen no other channel uses your default ones again.',
  input: (t) => ({ id: t.id({ required: true, description: ID_DESCRIPTION }) }),
  payload: { deletedAlertChannelId: { type: 'ID', description: 'The id of the deleted channel.' } },
  resolve: async ({ input, viewer: { user }, context: { services }, change }) => {
    const id = input.id.toLowerCase();
    const deleted = isId(id)
      ? await change(
          (tx) => deleteAlertChannel(tx, { userId: user.id, id }),
          (done) => (done ? id : undefined),
        )
      : undefined;
    if (!deleted) return notFound('alert channel');
    void publishEffects(services, deleted.effects); // the caller does not wait for the broker
    return { deletedAlertChannelId: id };
  },
});

mutation('confirmAlertChannel', 'WRITE', {
  description: `Confirms the e-mail address of a channel by the code that was sent there, which makes the channel ACTIVE. A code is valid for ${CODE_HOURS} hours and ${CODE_TRIES_MAX} tries. Without \`code\`, another one is sent: at most ${CODES_PER_USER_PER_DAY} a day for all channels of an account.`,
  input: (t) => ({
    id: t.id({ required: true, description: ID_DESCRIPTION }),
    code: t.string({ description: 'The 8 digits. Left out, another code is sent, and the one before ends.' }),
  }),
  payload: { alertChannel: { type: AlertChannel, description: 'The channel.' } },
  resolve: async ({ input, viewer: { user }, context: { services, load }, change }) => {
    const { sealer, settings } = services;
    const code = input.code?.replace(/\s/g, '');
    if (code !== undefined && !CODE.test(code))
      return invalid([{ path: ['code'], message: 'The code has 8 digits: the message to the address shows it.' }]);
    const channel = await load.alertChannel(input.id);
    if (channel === undefined) return notFound('alert channel');
    const unready = code === undefined ? emailProblem(settings, null) : undefined;
    if (unready) return refused(unready);
    const key = { userId: user.id, id: channel.id };
    const confirmed = await change(
      (tx): Promise<CodeSent | ChannelConfirmed> =>
        code === undefined
          ? sendCode(tx, { ...key, code: newCode(sealer, key.id) })
          : confirmAlertChannel(tx, { ...key, isRight: (sealed) => isCode(sealer, key.id, sealed, code) }),
      (done) => ('channel' in done ? key.id : undefined),
    );
    switch (confirmed.outcome) {
      case 'CONFIRMED':
      case 'SENT':
        return { alertChannel: confirmed.channel };
      case 'NOT_FOUND':
        return notFound('alert channel');
      case 'TOO_MANY_CODES':
        throw tooManyCodes(confirmed);
      case 'NOT_UNCONFIRMED':
        return conflict('The channel does not wait for a code.');
      case 'CODE_EXPIRED':
        return conflict(`The code was valid for ${CODE_HOURS} hours: ask for another one, by a call without code.`);
      case 'NO_TRIES_LEFT':
        return conflict(`The code was wrong ${CODE_TRIES_MAX} times: ask for another one, by a call without code.`);
      case 'WRONG_CODE': {
        const { triesLeft } = confirmed;
        const left = triesLeft === 1 ? 'There is 1 try left' : `There are ${triesLeft} tries left`;
        return invalid([{ path: ['code'], message: `The code is wrong. ${left}.` }]);
      }
    }
  },
});

mutation('rotateAlertChannelSecret', 'WRITE', {
  description: `Gives a webhook another signing secret. For ${OLD_SECRET_HOURS} hours its messages carry the signatures of both, the new one and the one before.`,
  input: (t) => ({ id: t.id({ required: true, description: ID_DESCRIPTION }) }),
  payload: {
    alertChannel: { type: AlertChannel, description: 'The channel.' },
    secret: { type: 'String', description: `The new secret. ${SECRET_DESCRIPTION}` },
  },
  resolve: async ({ input, viewer: { user }, context: { services }, change }) => {
    if (!isId(input.id)) return notFound('alert channel');
    const key = { userId: user.id, id: input.id.toLowerCase() };
    const secret = newSigningSecret();
    const rotated = await change(
      (tx) => rotateChannelSecret(tx, { ...key, from: (stored) => rotatedConfig(services.sealer, stored, secret) }),
      ({ outcome }) => (outcome === 'ROTATED' ? key.id : undefined),
    );
    if (rotated.outcome === 'NOT_FOUND') return notFound('alert channel');
    if (rotated.outcome === 'ROTATED') return { alertChannel: rotated.channel, secret };
    return invalid([{ path: ['id'], message: 'Only a channel of the kind WEBHOOK has a signing secret.' }]);
  },
});

function conflict(message: string) {
  return refused({ code: 'CONFLICT', message, path: null });
}

function tooManyCodes({ retryAfterSeconds }: TooManyCodes): Error {
  return rateLimited(
    `At most ${CODES_PER_USER_PER_DAY} codes a day go to addresses that you name: the next one can be sent in ${retryAfterSeconds} seconds.`,
    { retryAfterSeconds },
  );
}

/** What is wrong with a channel besides its target. */
function channelProblems({
  name,
  events,
}: {
  name?: string | null | undefined;
  events?: readonly string[] | null | undefined;
}): Problem[] {
  const problems = nameProblems(name, ALERT_CHANNEL_NAME_LENGTH_MAX);
  if (problems.length === 0 && typeof name === 'string' && LINE_BREAK.test(name))
    problems.push({ path: ['name'], message: 'The name must be one line, without control characters.' });
  if (events?.length === 0) problems.push({ path: ['events'], message: 'Name at least one event.' });
  for (const [index, event] of events?.entries() ?? [])
    if (events?.indexOf(event) !== index)
      problems.push({ path: ['events', String(index)], message: `Name each event once: ${event} is there before.` });
  return problems;
}

const LINE_BREAK = /[\p{Cc}\u2028\u2029]/u;
