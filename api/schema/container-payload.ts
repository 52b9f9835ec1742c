import { BUILD_FILES_MAX, PAIRS_MAX, VOLUMES_MAX } from '../../domain/limits.ts';
import type { ContainerPayload } from '../../domain/payload/payload.ts';
import type { RegistryAuth } from '../../domain/payload/registry-auth.ts';
import type {
  ContainerInput as Given,
  RegistryAuthInput as Login,
  PairInput,
} from '../../domain/payload/typed-input.ts';
import { builder } from './builder.ts';
import { cost } from './cost.ts';
import { ContainerNetworkEnum, PullPolicyEnum } from './enums.ts';
import {
  type DefinitionFields,
  type InputFields,
  type NamedValue,
  namedValues,
  type One,
  SECRET_DESCRIPTION,
} from './payload-fields.ts';

type Build = One<Given['build']>;
type StoredBuild = NonNullable<ContainerPayload['build']>;

const BuildFileInput = builder.inputType('BuildFileInput', {
  description: 'A file in the build context, beside the Dockerfile.',
  fields: (t) =>
    ({
      path: t.string({
        required: true,
        description: 'The path relative to the Dockerfile: at most 100 bytes, without "..".',
      }),
      content: t.string({
        required: true,
        description: 'The content of the file. A file that begins with "#!" is executable.',
      }),
    }) satisfies InputFields<One<Build['files']>>,
});

const ImageBuildInput = builder.inputType('ImageBuildInput', {
  description: 'An image to build, once for each generation of the payload.',
  fields: (t) =>
    ({
      dockerfile: t.string({
        required: true,
        description: 'The text of the Dockerfile. It must name its images without variables, and must not ADD URLs.',
      }),
      files: t.field({ type: [BuildFileInput], description: 'Files beside the Dockerfile, for COPY: at most 100.' }),
    }) satisfies InputFields<Build>,
});

const VolumeInput = builder.inputType('VolumeInput', {
  description: 'A named volume to mount. It is created on first use and kept until you delete it with `deleteVolume`.',
  fields: (t) =>
    ({
      name: t.string({
        required: true,
        description: 'The name of the volume among yours: 1 to 64 letters, digits, "_", "." and "-".',
      }),
      path: t.string({
        required: true,
        description:
          'The absolute path to mount the volume at. It must not be "/", and no two volumes can have the same.',
      }),
      readOnly: t.boolean({ description: 'Whether the container can only read the volume. Defaults to false.' }),
      owner: t.string({
        description:
          'The user id that the volume belongs to, with a group id behind a colon if you like: "1000:1000". By default, a new volume belongs to the user that the program runs as.',
      }),
    }) satisfies InputFields<One<Given['volumes']>>,
});

const ResourcesInput = builder.inputType('ResourcesInput', {
  description: 'Resource limits of a container. The operator sets how much you can ask for.',
  fields: (t) =>
    ({
      cpus: t.float({ description: 'How many CPUs, or which part of one. Defaults to 1.' }),
      memoryMb: t.int({ description: 'Memory in units of 1,048,576 bytes, without swap. Defaults to 512.' }),
      pids: t.int({ description: 'How many processes and threads. Defaults to 256.' }),
      sharedMemoryMb: t.int({
        description:
          'The size of /dev/shm in units of 1,048,576 bytes. What is in it counts as memory. Defaults to 64.',
      }),
    }) satisfies InputFields<One<Given['resources']>>,
});
const EnvInput = builder.inputType('EnvInput', {
  description: 'An environment variable.',
  fields: (t) =>
    ({
      name: t.string({
        required: true,
        description: 'The name of the variable: not empty, without "=", and given only once.',
      }),
      value: t.string({ description: 'The value of the variable.' }),
      secret: t.boolean({ description: SECRET_DESCRIPTION }),
    }) satisfies InputFields<PairInput>,
});

const RegistryAuthInput = builder.inputType('RegistryAuthInput', {
  description: 'A login to the registry of a private image.',
  fields: (t) =>
    ({
      username: t.string({ required: true, description: 'The user name, or whatever the registry accepts instead.' }),
      password: t.string({
        required: true,
        description: 'The password or token. Always a secret: encrypted at rest, and never returned.',
      }),
    }) satisfies InputFields<Login>,
});

export const ContainerInput = builder.inputType('ContainerInput', {
  description: 'A container to run.',
  fields: (t) =>
    ({
      image: t.string({ description: 'The image to run, like "python:3.11-alpine". Give either this or `build`.' }),
      build: t.field({ type: ImageBuildInput, description: 'An image to build and run. Give either this or `image`.' }),
      command: t.stringList({ description: "The command to run. It replaces the image's entrypoint and command." }),
      args: t.stringList({
        description: "Arguments of `command`, or of the image's entrypoint if there is no `command`.",
      }),
      env: t.field({
        type: [EnvInput],
        description: 'Environment variables: at most 100, and at most 32 KiB in total.',
      }),
      workingDir: t.string({ description: "The working directory: an absolute path. Defaults to the image's." }),
      timeoutSeconds: t.int({ description: 'How many seconds a job can take. Defaults to 3,600.' }),
      volumes: t.field({ type: [VolumeInput], description: 'Named volumes to mount: at most 20.' }),
      resources: t.field({ type: ResourcesInput, description: 'Resource limits.' }),
      network: t.field({
        type: ContainerNetworkEnum,
        description:
          'The network of the container. Defaults to the first one that the operator allows, usually BRIDGE.',
      }),
      registryAuth: t.field({
        type: RegistryAuthInput,
        description: 'The login to pull `image`, or the first image of the Dockerfile, with.',
      }),
      user: t.string({
        description:
          'The user that the program runs as, by id or by a name that the image knows, with a group behind a colon if you like: "1000:1000", "node". Defaults to the user of the image.',
      }),
      networkName: t.string({
        description:
          'A network of the operator to join instead of `network`, by its name. Containers of all users who name it reach each other on it. Refused unless the operator allows it (SHARED_NETWORKS).',
      }),
      capabilities: t.stringList({
        description:
          'Capabilities of Linux that the program has, like "NET_RAW". Refused unless the operator allows them (CONTAINER_CAPABILITIES).',
      }),
      stopSignal: t.string({
        description:
          'The signal that asks the program to stop, like "SIGINT". Defaults to that of the image, or SIGTERM.',
      }),
      stopGraceSeconds: t.int({
        description:
          'How many seconds the program may take to end after its stop signal before it is killed: 0 to 600. Defaults to 10.',
      }),
      pullPolicy: t.field({
        type: PullPolicyEnum,
        description:
          'When builds ask the registry for `image`, or for the images that the Dockerfile names. Defaults to ALWAYS.',
      }),
    }) satisfies InputFields<Given>,
});

const BuildFileDefinition = builder.objectRef<One<StoredBuild['files']>>('BuildFileDefinition').implement({
  description: 'A file beside the Dockerfile.',
  fields: (t) =>
    ({
      path: t.exposeString('path', { description: 'The path of the file, relative to the Dockerfile.' }),
      content: t.exposeString('content', {
        description: 'The text of the file. A file that begins with "#!" is executable.',
      }),
    }) satisfies DefinitionFields<One<Build['files']>>,
});

const ImageBuildDefinition = builder.objectRef<StoredBuild>('ImageBuildDefinition').implement({
  description: 'An image that the workflow builds, once for each generation.',
  fields: (t) =>
    ({
      dockerfile: t.exposeString('dockerfile', { description: 'The text of the Dockerfile.' }),
      files: t.expose('files', {
        type: [BuildFileDefinition],
        nullable: true,
        description: 'The files beside the Dockerfile. Null if there are none.',
        extensions: cost({ itemsMax: BUILD_FILES_MAX }),
      }),
    }) satisfies DefinitionFields<Build>,
});

const VolumeDefinition = builder.objectRef<One<ContainerPayload['volumes']>>('VolumeDefinition').implement({
  description: "A named volume of the workflow's owner, which containers mount.",
  fields: (t) =>
    ({
      name: t.exposeString('name', { description: 'The name of the volume. It is unique for its owner.' }),
      path: t.exposeString('path', { description: 'The absolute path at which containers see the volume.' }),
      readOnly: t.boolean({
        description: 'Whether containers can only read the volume.',
        resolve: ({ read_only }) => read_only === true,
      }),
      owner: t.exposeString('owner', {
        nullable: true,
        description:
          'The user id that the volume belongs to, with its group. Null means that a new volume belongs to the user that the program runs as.',
      }),
    }) satisfies DefinitionFields<One<Given['volumes']>>,
});

const ResourcesDefinition = builder.objectRef<One<ContainerPayload['resources']>>('ResourcesDefinition').implement({
  description:
    'The most that a container can use. The operator may have lowered a maximum since the payload was stored.',
  fields: (t) =>
    ({
      cpus: t.exposeFloat('cpus', { nullable: true, description: 'How many CPUs, in fractions too. Null means 1.' }),
      memoryMb: t.exposeInt('memory_mb', {
        nullable: true,
        description: 'The memory in MB of 1,048,576 bytes, without swap. Null means 512.',
      }),
      pids: t.exposeInt('pids', { nullable: true, description: 'How many processes and threads. Null means 256.' }),
      sharedMemoryMb: t.exposeInt('shared_memory_mb', {
        nullable: true,
        description: 'The size of /dev/shm in MB of 1,048,576 bytes. What is in it counts as memory. Null means 64.',
      }),
    }) satisfies DefinitionFields<One<Given['resources']>>,
});

const EnvDefinition = builder.objectRef<NamedValue>('EnvDefinition').implement({
  description: 'An environment variable.',
  fields: (t) =>
    ({
      name: t.exposeString('name', { description: 'The name of the variable.' }),
      value: t.exposeString('value', { nullable: true, description: 'The value. Null if it is a secret.' }),
      secret: t.exposeBoolean('secret', { description: 'Whether the value is a secret, which nobody can read back.' }),
    }) satisfies DefinitionFields<PairInput>,
});

const RegistryAuthDefinition = builder.objectRef<RegistryAuth>('RegistryAuthDefinition').implement({
  description: 'A login to the registry of a private image. Nobody can read its password back.',
  fields: (t) =>
    ({
      username: t.exposeString('username', { description: 'The user name, or what the registry takes in its place.' }),
    }) satisfies DefinitionFields<Omit<Login, 'password'>>,
});

export const ContainerDefinition = builder.objectRef<ContainerPayload>('ContainerDefinition').implement({
  description: 'The image that a CONTAINER runs, and how. A field that the payload does not set is null.',
  fields: (t) =>
    ({
      image: t.exposeString('image', {
        nullable: true,
        description: 'The image, as its author named it. Null if the workflow builds one.',
      }),
      build: t.expose('build', {
        type: ImageBuildDefinition,
        nullable: true,
        description: 'The image to build. Null if `image` names one.',
      }),
      command: t.exposeStringList('command', {
        nullable: true,
        description: "The command that replaces the image's entrypoint and command. Null means the image's own.",
      }),
      args: t.exposeStringList('args', {
        nullable: true,
        description: "The arguments for `command`, or for the image's entrypoint. Null if there are none.",
      }),
      env: t.field({
        type: [EnvDefinition],
        nullable: true,
        description: 'The environment variables, in the order in which they were given. Null if there are none.',
        extensions: cost({ itemsMax: PAIRS_MAX }),
        resolve: ({ env, order }) => namedValues(env, order?.env),
      }),
      workingDir: t.exposeString('working_dir', {
        nullable: true,
        description: "The absolute path in which the program starts. Null means the image's.",
      }),
      timeoutSeconds: t.exposeInt('timeout_seconds', {
        nullable: true,
        description: "How many seconds a job can take. Null means 3,600, or the operator's maximum if that is less.",
      }),
      volumes: t.expose('volumes', {
        type: [VolumeDefinition],
        nullable: true,
        description: 'The volumes that containers mount. Null if there are none.',
        extensions: cost({ itemsMax: VOLUMES_MAX }),
      }),
      resources: t.expose('resources', {
        type: ResourcesDefinition,
        nullable: true,
        description: 'The most that a container can use. Null means the defaults.',
      }),
      network: t.expose('network', {
        type: ContainerNetworkEnum,
        nullable: true,
        description:
          'The network of the containers. Null means the first one that the operator allows, usually BRIDGE.',
      }),
      registryAuth: t.expose('registry_auth', {
        type: RegistryAuthDefinition,
        nullable: true,
        description: 'The login to pull the image with, or the first image of the Dockerfile. Null if there is none.',
      }),
      user: t.exposeString('user', {
        nullable: true,
        description: 'The user that the program runs as. Null means the user of the image.',
      }),
      networkName: t.exposeString('network_name', {
        nullable: true,
        description: 'The network of the operator that the containers join. Null means the one that `network` says.',
      }),
      capabilities: t.exposeStringList('capabilities', {
        nullable: true,
        description: 'The capabilities of Linux that the program has. Null means none.',
      }),
      stopSignal: t.exposeString('stop_signal', {
        nullable: true,
        description: 'The signal that asks the program to stop. Null means that of the image, or SIGTERM.',
      }),
      stopGraceSeconds: t.exposeInt('stop_grace_seconds', {
        nullable: true,
        description:
          'How many seconds the program may take to end after its stop signal before it is killed. Null means 10.',
      }),
      pullPolicy: t.expose('pull_policy', {
        type: PullPolicyEnum,
        nullable: true,
        description: 'When builds ask the registry for the image. Null means ALWAYS.',
      }),
    }) satisfies DefinitionFields<Given>,
});
