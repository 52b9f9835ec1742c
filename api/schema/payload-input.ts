import { builder } from './builder.ts';
import { ImageBuildInput, ResourcesInput, VolumeInput } from './container-input.ts';
import { ContainerNetworkEnum, HttpMethodEnum } from './enums.ts';

const SECRET =
  'Whether the value is encrypted at rest and never read back. In an update, a secret without a value keeps the stored one.';

const HeaderInput = builder.inputType('HeaderInput', {
  description: 'A header to be sent.',
  fields: (t) => ({
    name: t.string({ required: true, description: 'Its name, given once whatever its case.' }),
    value: t.string({ description: 'Its value: one line.' }),
    secret: t.boolean({ description: SECRET }),
  }),
});

const EnvInput = builder.inputType('EnvInput', {
  description: 'An environment variable.',
  fields: (t) => ({
    name: t.string({ required: true, description: 'Its name: not empty, without "=", given once.' }),
    value: t.string({ description: 'Its value.' }),
    secret: t.boolean({ description: SECRET }),
  }),
});

const HeartbeatInput = builder.inputType('HeartbeatInput', {
  description: 'A check. Without an endpoint the platform checks itself: its database, bus and cache.',
  fields: (t) => ({
    endpoint: t.string({ description: 'What to check: http(s)://..., tcp://host:port or dns://name.' }),
    method: t.field({ type: HttpMethodEnum, description: 'The method of the request: GET unless given.' }),
    headers: t.field({ type: [HeaderInput], description: 'Headers to be sent: at most 100, and 32 KiB together.' }),
    body: t.string({ description: 'A body to be sent, with POST or PUT.' }),
    expectedStatus: t.intList({ description: 'The statuses that are right: any 2xx unless given.' }),
    bodyContains: t.string({ description: "What the answer's body must contain." }),
    timeoutSeconds: t.float({ description: 'How long it may take: 0.1 to 300, 10 unless given.' }),
    followRedirects: t.boolean({ description: 'Whether to go where an answer points to.' }),
    minTlsDaysLeft: t.int({ description: 'Days for which a certificate must still be valid: 0 to 3,650.' }),
  }),
});

const RegistryAuthInput = builder.inputType('RegistryAuthInput', {
  description: 'A login to the registry of a private image.',
  fields: (t) => ({
    username: t.string({ required: true, description: 'The user, or what the registry takes in its place.' }),
    password: t.string({ required: true, description: 'The password or token: a secret.' }),
  }),
});

const ContainerInput = builder.inputType('ContainerInput', {
  description: 'A Docker image to be run.',
  fields: (t) => ({
    image: t.string({ description: 'The image, like "python:3.11-alpine". This or `build` is needed.' }),
    build: t.field({ type: ImageBuildInput, description: 'An image to be built, in place of `image`.' }),
    command: t.stringList({ description: "What to run in place of the image's entrypoint and command." }),
    args: t.stringList({ description: "Arguments for `command`, or for the image's entrypoint." }),
    env: t.field({ type: [EnvInput], description: 'Environment variables: at most 100, and 32 KiB together.' }),
    workingDir: t.string({ description: "An absolute path, in place of the image's." }),
    timeoutSeconds: t.int({ description: 'How long it may take: 3,600 unless given.' }),
    volumes: t.field({ type: [VolumeInput], description: 'Named volumes to be mounted: at most 20.' }),
    resources: t.field({ type: ResourcesInput, description: 'What it may use.' }),
    network: t.field({ type: ContainerNetworkEnum, description: 'Which network it is in: BRIDGE unless given.' }),
    registryAuth: t.field({
      type: RegistryAuthInput,
      description: 'The login with which the image is pulled, or the first image of the Dockerfile.',
    }),
  }),
});

export const WorkflowPayloadInput = builder.inputType('WorkflowPayloadInput', {
  description: 'What a workflow runs: exactly one of these.',
  isOneOf: true,
  fields: (t) => ({
    heartbeat: t.field({ type: HeartbeatInput, description: 'A HEARTBEAT.' }),
    container: t.field({ type: ContainerInput, description: 'A CONTAINER.' }),
    json: t.string({ description: 'The document as `Workflow.payload` gives it, with its "kind".' }),
  }),
});
