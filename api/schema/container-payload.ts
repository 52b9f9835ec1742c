import type {
  ContainerInput as Given,
  RegistryAuthInput as Login,
  PairInput,
} from '../../domain/payload/typed-input.ts';
import { builder } from './builder.ts';
import { ContainerNetworkEnum } from './enums.ts';
import { type InputFields, type One, SECRET_DESCRIPTION } from './payload-fields.ts';

type Build = One<Given['build']>;

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
    }) satisfies InputFields<One<Given['volumes']>>,
});

const ResourcesInput = builder.inputType('ResourcesInput', {
  description: 'Resource limits of a container. The operator sets how much you can ask for.',
  fields: (t) =>
    ({
      cpus: t.float({ description: 'How many CPUs, or which part of one. Defaults to 1.' }),
      memoryMb: t.int({ description: 'Memory in units of 1,048,576 bytes, without swap. Defaults to 512.' }),
      pids: t.int({ description: 'How many processes and threads. Defaults to 256.' }),
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
        description: 'The network of the container. Defaults to BRIDGE.',
      }),
      registryAuth: t.field({
        type: RegistryAuthInput,
        description: 'The login to pull `image`, or the first image of the Dockerfile, with.',
      }),
    }) satisfies InputFields<Given>,
});
