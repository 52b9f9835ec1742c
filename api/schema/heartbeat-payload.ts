import { PAIRS_MAX } from '../../domain/limits.ts';
import type { HeartbeatPayload } from '../../domain/payload/payload.ts';
import type { HeartbeatInput as Given, PairInput } from '../../domain/payload/typed-input.ts';
import { builder } from './builder.ts';
import { cost } from './cost.ts';
import { HttpMethodEnum } from './enums.ts';
import {
  type DefinitionFields,
  type InputFields,
  type NamedValue,
  namedValues,
  SECRET_DESCRIPTION,
} from './payload-fields.ts';

const HeaderInput = builder.inputType('HeaderInput', {
  description: 'A header of the request.',
  fields: (t) =>
    ({
      name: t.string({
        required: true,
        description: 'The name of the header. Case makes no difference, and each can be given only once.',
      }),
      value: t.string({ description: 'The value of the header: one line.' }),
      secret: t.boolean({ description: SECRET_DESCRIPTION }),
    }) satisfies InputFields<PairInput>,
});

export const HeartbeatInput = builder.inputType('HeartbeatInput', {
  description: 'A check. Without `endpoint` the platform checks itself: its database, bus and cache.',
  fields: (t) =>
    ({
      endpoint: t.string({ description: 'The endpoint to check: http(s)://..., tcp://host:port or dns://name.' }),
      method: t.field({ type: HttpMethodEnum, description: 'The method of the request. Defaults to GET.' }),
      headers: t.field({
        type: [HeaderInput],
        description: 'Headers of the request: at most 100, and at most 32 KiB in total.',
      }),
      body: t.string({ description: 'The body of the request, for POST and PUT.' }),
      expectedStatus: t.intList({ description: 'The statuses that count as success. Defaults to all 2xx.' }),
      bodyContains: t.string({ description: 'A text that the body of the response must contain.' }),
      timeoutSeconds: t.float({ description: 'How many seconds the check can take: 0.1 to 300. Defaults to 10.' }),
      followRedirects: t.boolean({
        description:
          'Whether to follow redirects, at most 5. Defaults to true. A redirect whose own status is expected is not followed.',
      }),
      minTlsDaysLeft: t.int({ description: 'For how many days the TLS certificate must still be valid: 0 to 3,650.' }),
    }) satisfies InputFields<Given>,
});

const HeaderDefinition = builder.objectRef<NamedValue>('HeaderDefinition').implement({
  description: 'A header that a HEARTBEAT sends.',
  fields: (t) =>
    ({
      name: t.exposeString('name', { description: 'The name of the header.' }),
      value: t.exposeString('value', { nullable: true, description: 'The value. Null if it is a secret.' }),
      secret: t.exposeBoolean('secret', { description: 'Whether the value is a secret, which nobody can read back.' }),
    }) satisfies DefinitionFields<PairInput>,
});

export const HeartbeatDefinition = builder.objectRef<HeartbeatPayload>('HeartbeatDefinition').implement({
  description:
    'What a HEARTBEAT checks, and which answer counts as success. A field that the payload does not set is null.',
  fields: (t) =>
    ({
      endpoint: t.exposeString('endpoint', {
        nullable: true,
        description: 'What to check: http(s)://..., tcp://host:port or dns://name. Null means the platform itself.',
      }),
      method: t.expose('method', {
        type: HttpMethodEnum,
        nullable: true,
        description: 'The method of the request. Null means GET.',
      }),
      headers: t.field({
        type: [HeaderDefinition],
        nullable: true,
        description: 'The headers of the request, in the order in which they were given. Null if there are none.',
        extensions: cost({ itemsMax: PAIRS_MAX }),
        resolve: ({ headers, order }) => namedValues(headers, order?.headers),
      }),
      body: t.exposeString('body', { nullable: true, description: 'The body of the request. Null if there is none.' }),
      expectedStatus: t.exposeIntList('expected_status', {
        nullable: true,
        description: 'The statuses that count as success. Null means all 2xx.',
      }),
      bodyContains: t.exposeString('body_contains', {
        nullable: true,
        description: 'A text that the body of the response must contain. Null if the body is not checked.',
      }),
      timeoutSeconds: t.exposeFloat('timeout_seconds', {
        nullable: true,
        description: 'How many seconds a check can take. Null means 10.',
      }),
      followRedirects: t.exposeBoolean('follow_redirects', {
        nullable: true,
        description: 'Whether the check follows redirects. Null means true.',
      }),
      minTlsDaysLeft: t.exposeInt('min_tls_days_left', {
        nullable: true,
        description: 'For how many days the TLS certificate must still be valid. Null means that it must be valid now.',
      }),
    }) satisfies DefinitionFields<Given>,
});
