import { PAIRS_MAX } from '../../domain/limits.ts';
import type { HeartbeatPayload } from '../../domain/payload/payload.ts';
import { pushOf } from '../../domain/payload/push.ts';
import type { RegistryAuth } from '../../domain/payload/registry-auth.ts';
import type { ClientCertificate } from '../../domain/payload/tls-schema.ts';
import type {
  ClientCertificateInput as Client,
  HeartbeatInput as Given,
  RegistryAuthInput as Login,
  PairInput,
} from '../../domain/payload/typed-input.ts';
import { builder } from './builder.ts';
import { cost, LONG_TEXT_COST } from './cost.ts';
import { DnsRecordTypeEnum, HttpMethodEnum, HttpVersionEnum } from './enums.ts';
import {
  type DefinitionFields,
  type InputFields,
  type NamedValue,
  namedValues,
  type One,
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

const ClientCertificateInput = builder.inputType('ClientCertificateInput', {
  description: 'A certificate that a check shows to a server that asks for one.',
  fields: (t) =>
    ({
      certificate: t.string({
        required: true,
        description: 'The certificate in PEM form, and after it the intermediate ones that the server needs.',
      }),
      key: t.string({
        description:
          'The private key in PEM form, without a passphrase. Always a secret: encrypted at rest, and never returned. An update without it keeps the stored one.',
      }),
    }) satisfies InputFields<Client>,
});

const ProxyAuthInput = builder.inputType('ProxyAuthInput', {
  description: 'A login to a proxy.',
  fields: (t) =>
    ({
      username: t.string({ required: true, description: 'The user name.' }),
      password: t.string({
        required: true,
        description: 'The password. Always a secret: encrypted at rest, and never returned.',
      }),
    }) satisfies InputFields<Login>,
});

const BodyJsonInput = builder.inputType('BodyJsonInput', {
  description: 'What the body of the response must be: JSON that has something at a path.',
  fields: (t) =>
    ({
      path: t.string({
        required: true,
        description: 'Where: "$" with names, numbers and wildcards, like "$.checks[0].status" or "$.nodes[*].up".',
      }),
      value: t.string({
        description:
          'What must be there: a text itself, or a number, true, false or null as JSON. Defaults to anything.',
      }),
    }) satisfies InputFields<One<Given['bodyJson']>>,
});

const PushInput = builder.inputType('PushInput', {
  description: 'The pings that a push heartbeat expects, by its schedule.',
  fields: (t) =>
    ({
      startGraceSeconds: t.int({
        description: 'How many seconds after its slot a ping may come: 1 to 2,592,000. Defaults to 300.',
      }),
      runGraceSeconds: t.int({
        description:
          'How many seconds a run that has sent /start may take until it says that it ended: 1 to 2,592,000. Defaults to 3,600.',
      }),
      postOnly: t.boolean({
        description:
          'Whether only POST counts. Defaults to false. Programs that look where a link leads send GET and HEAD.',
      }),
    }) satisfies InputFields<One<Given['push']>>,
});

export const HeartbeatInput = builder.inputType('HeartbeatInput', {
  description:
    'A check. Without `endpoint` the platform checks itself: its database, bus and cache. With `push` it checks nothing, and expects pings.',
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
          'Whether to follow redirects. Defaults to true. A redirect whose own status is expected is not followed.',
      }),
      expectedStatusRanges: t.stringList({
        description: 'Ranges of statuses that count as success, such as "2xx" and "200-299", beside `expectedStatus`.',
      }),
      bodyNotContains: t.string({ description: 'A text that the body of the response must not contain.' }),
      bodyMatches: t.string({
        description: 'A regular expression of RE2 that must match somewhere in the body of the response.',
      }),
      bodyJson: t.field({ type: BodyJsonInput, description: 'What the body of the response must be as JSON.' }),
      websocket: t.boolean({
        description: 'Whether the check opens a WebSocket at the endpoint, which must answer 101. Defaults to false.',
      }),
      httpVersion: t.field({
        type: HttpVersionEnum,
        description: 'Which version of HTTP the check speaks. Defaults to AUTO. HTTP_2 needs https://.',
      }),
      maxRedirects: t.int({
        description: 'How many redirects the check follows: 0 to 20. Defaults to 5. One more fails it.',
      }),
      headersOnly: t.boolean({
        description: 'Whether the check ends when the headers have come, as for an endless stream. Defaults to false.',
      }),
      minTlsDaysLeft: t.int({
        description:
          "For how many days the server's TLS certificates must still be valid, the intermediate ones included: 0 to 3,650.",
      }),
      tlsVerify: t.boolean({
        description:
          "Whether the server's certificates must be right. Defaults to true. With false, the log warns of what is wrong.",
      }),
      tlsCa: t.string({
        description:
          'The certificates of the authorities to trust, in PEM form. Defaults to the well-known ones, and those that the operator adds.',
      }),
      clientCertificate: t.field({
        type: ClientCertificateInput,
        description:
          'The certificate to show. It goes only to the endpoint itself, not along with a redirect elsewhere.',
      }),
      tlsServerName: t.string({
        description:
          'The name to ask for in the TLS handshake (SNI), and that the certificate must be for. Defaults to the host of the endpoint.',
      }),
      hostHeader: t.string({
        description: 'The Host header of the request. Defaults to host and port of the endpoint.',
      }),
      connectTo: t.string({
        description: 'host:port to connect to in place of those of the endpoint, which still decides about names.',
      }),
      proxy: t.string({ description: 'An HTTP proxy to connect through, as http://host:port.' }),
      proxyAuth: t.field({ type: ProxyAuthInput, description: 'The login to the proxy, if it wants one.' }),
      dnsRecordType: t.field({
        type: DnsRecordTypeEnum,
        description:
          'For dns://: the type of records that the name must have, asked for as the name is written. Defaults to A or AAAA.',
      }),
      dnsExpectedValues: t.stringList({
        description: 'For dns://: values that must all be among the records: at most 50. Others may be there too.',
      }),
      dnsServer: t.string({
        description:
          "For dns://: the name server to ask, an address with a port or without. Defaults to the worker's own.",
      }),
      tcpSend: t.string({ description: 'For tcp://: a text to send once connected: at most 4,096 bytes.' }),
      tcpExpect: t.string({
        description:
          'For tcp://: a text that the first 64 KiB that the server sends must contain: at most 4,096 bytes.',
      }),
      push: t.field({
        type: PushInput,
        description: 'A push heartbeat: pings are expected at `Workflow.pingUrl`. No other field goes with it.',
      }),
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

const ClientCertificateDefinition = builder.objectRef<ClientCertificate>('ClientCertificateDefinition').implement({
  description: 'A certificate that a check shows. Nobody can read its key back.',
  fields: (t) =>
    ({
      certificate: t.exposeString('certificate', {
        description: 'The certificate and its intermediate ones, in PEM form.',
        extensions: cost({ base: LONG_TEXT_COST }),
      }),
    }) satisfies DefinitionFields<Omit<Client, 'key'>>,
});

const ProxyAuthDefinition = builder.objectRef<RegistryAuth>('ProxyAuthDefinition').implement({
  description: 'A login to a proxy. Nobody can read its password back.',
  fields: (t) =>
    ({
      username: t.exposeString('username', { description: 'The user name.' }),
    }) satisfies DefinitionFields<Omit<Login, 'password'>>,
});

const BodyJsonDefinition = builder.objectRef<One<HeartbeatPayload['body_json']>>('BodyJsonDefinition').implement({
  description: 'What the body of the response must be: JSON that has something at a path.',
  fields: (t) =>
    ({
      path: t.exposeString('path', { description: 'Where.' }),
      value: t.exposeString('value', { nullable: true, description: 'What must be there. Null means anything.' }),
    }) satisfies DefinitionFields<One<Given['bodyJson']>>,
});

const PushDefinition = builder.objectRef<One<HeartbeatPayload['push']>>('PushDefinition').implement({
  description: 'The pings that a push heartbeat expects, by its schedule.',
  fields: (t) =>
    ({
      startGraceSeconds: t.int({
        description: 'How many seconds after its slot a ping may come.',
        resolve: (push) => pushOf(push).startGraceSeconds,
      }),
      runGraceSeconds: t.int({
        description: 'How many seconds a run that has sent /start may take until it says that it ended.',
        resolve: (push) => pushOf(push).runGraceSeconds,
      }),
      postOnly: t.boolean({ description: 'Whether only POST counts.', resolve: (push) => pushOf(push).postOnly }),
    }) satisfies DefinitionFields<One<Given['push']>>,
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
        description:
          "For how many days the server's TLS certificates must still be valid. Null means that they must be valid now.",
      }),
      tlsVerify: t.exposeBoolean('tls_verify', {
        nullable: true,
        description: "Whether the server's certificates must be right. Null means true.",
      }),
      tlsCa: t.exposeString('tls_ca', {
        nullable: true,
        description:
          'The certificates of the trusted authorities. Null means those that the server of Chronoverse trusts.',
        extensions: cost({ base: LONG_TEXT_COST }),
      }),
      clientCertificate: t.expose('client_certificate', {
        type: ClientCertificateDefinition,
        nullable: true,
        description: 'The certificate that the check shows. Null if there is none.',
      }),
      tlsServerName: t.exposeString('tls_server_name', {
        nullable: true,
        description: 'The name in the TLS handshake. Null means the host of the endpoint.',
      }),
      hostHeader: t.exposeString('host_header', {
        nullable: true,
        description: 'The Host header. Null means host and port of the endpoint.',
      }),
      connectTo: t.exposeString('connect_to', {
        nullable: true,
        description: 'Where the check connects to. Null means host and port of the endpoint.',
      }),
      proxy: t.exposeString('proxy', { nullable: true, description: 'The proxy. Null if there is none.' }),
      proxyAuth: t.expose('proxy_auth', {
        type: ProxyAuthDefinition,
        nullable: true,
        description: 'The login to the proxy. Null if there is none.',
      }),
      expectedStatusRanges: t.exposeStringList('expected_status_ranges', {
        nullable: true,
        description: 'Ranges of statuses that count as success, such as "2xx". Null means none.',
      }),
      bodyNotContains: t.exposeString('body_not_contains', {
        nullable: true,
        description: 'A text that the body of the response must not contain. Null if there is none.',
      }),
      bodyMatches: t.exposeString('body_matches', {
        nullable: true,
        description: 'A regular expression that must match somewhere in the body. Null if there is none.',
      }),
      bodyJson: t.expose('body_json', {
        type: BodyJsonDefinition,
        nullable: true,
        description: 'What the body of the response must be as JSON. Null if it need not be JSON.',
      }),
      websocket: t.exposeBoolean('websocket', {
        nullable: true,
        description: 'Whether the check opens a WebSocket. Null means false.',
      }),
      httpVersion: t.expose('http_version', {
        type: HttpVersionEnum,
        nullable: true,
        description: 'Which version of HTTP the check speaks. Null means AUTO.',
      }),
      maxRedirects: t.exposeInt('max_redirects', {
        nullable: true,
        description: 'How many redirects the check follows. Null means 5.',
      }),
      headersOnly: t.exposeBoolean('headers_only', {
        nullable: true,
        description: 'Whether the check ends when the headers have come. Null means false.',
      }),
      dnsRecordType: t.expose('dns_record_type', {
        type: DnsRecordTypeEnum,
        nullable: true,
        description: 'The type of records that the name must have. Null means A or AAAA.',
      }),
      dnsExpectedValues: t.exposeStringList('dns_expected_values', {
        nullable: true,
        description: 'Values that must all be among the records. Null if the values are not checked.',
      }),
      dnsServer: t.exposeString('dns_server', {
        nullable: true,
        description: "The name server to ask. Null means the worker's own.",
      }),
      tcpSend: t.exposeString('tcp_send', {
        nullable: true,
        description: 'A text to send once connected. Null if there is none.',
      }),
      tcpExpect: t.exposeString('tcp_expect', {
        nullable: true,
        description: 'A text that the server must send. Null if what it sends is not checked.',
      }),
      push: t.expose('push', {
        type: PushDefinition,
        nullable: true,
        description: 'The pings that it expects, defaults filled in. Null for a check.',
      }),
    }) satisfies DefinitionFields<Given>,
});
