import type { HeartbeatInput as Given, PairInput } from '../../domain/payload/typed-input.ts';
import { builder } from './builder.ts';
import { HttpMethodEnum } from './enums.ts';
import { type InputFields, SECRET_DESCRIPTION } from './payload-fields.ts';

const HeaderInput = builder.inputType('HeaderInput', {
  description: 'A header to be sent.',
  fields: (t) =>
    ({
      name: t.string({ required: true, description: 'Its name, given once whatever its case.' }),
      value: t.string({ description: 'Its value: one line.' }),
      secret: t.boolean({ description: SECRET_DESCRIPTION }),
    }) satisfies InputFields<PairInput>,
});

export const HeartbeatInput = builder.inputType('HeartbeatInput', {
  description: 'A check. Without an endpoint the platform checks itself: its database, bus and cache.',
  fields: (t) =>
    ({
      endpoint: t.string({ description: 'What to check: http(s)://..., tcp://host:port or dns://name.' }),
      method: t.field({ type: HttpMethodEnum, description: 'The method of the request: GET unless given.' }),
      headers: t.field({ type: [HeaderInput], description: 'Headers to be sent: at most 100, and 32 KiB together.' }),
      body: t.string({ description: 'A body to be sent, with POST or PUT.' }),
      expectedStatus: t.intList({ description: 'The statuses that are right: any 2xx unless given.' }),
      bodyContains: t.string({ description: "What the answer's body must contain." }),
      timeoutSeconds: t.float({ description: 'How long it may take: 0.1 to 300, 10 unless given.' }),
      followRedirects: t.boolean({ description: 'Whether to go where an answer points to.' }),
      minTlsDaysLeft: t.int({ description: 'Days for which a certificate must still be valid: 0 to 3,650.' }),
    }) satisfies InputFields<Given>,
});
