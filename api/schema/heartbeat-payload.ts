import type { HeartbeatInput as Given, PairInput } from '../../domain/payload/typed-input.ts';
import { builder } from './builder.ts';
import { HttpMethodEnum } from './enums.ts';
import { type InputFields, SECRET_DESCRIPTION } from './payload-fields.ts';

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
