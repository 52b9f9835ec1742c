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
  description: 'A file beside the Dockerfile.',
  fields: (t) =>
    ({
      path: t.string({
        required: true,
        description: 'Where, relative to the Dockerfile: at most 100 bytes, without "..".',
      }),
      content: t.string({ required: true, description: 'What is in it. One that begins with "#!" is executable.' }),
    }) satisfies InputFields<One<Build['files']>>,
});

const ImageBuildInput = builder.inputType('ImageBuildInput', {
  description: 'An image to be built, once for each revision of the payload.',
  fields: (t) =>
    ({
      dockerfile: t.string({
        required: true,
        description: 'The text of the Dockerfile. It names its images without variables, and adds no URLs.',
      }),
      files: t.field({ type: [BuildFileInput], description: 'Files beside it, for COPY: at most 100.' }),
    }) satisfies InputFields<Build>,
});

const VolumeInput = builder.inputType('VolumeInput', {
  description: "A named volume of the owner's, made on first use and kept.",
  fields: (t) =>
    ({
      name: t.string({
        required: true,
        description: 'Its name among the owner\'s: 1 to 64 letters, digits, "_", "." and "-".',
      }),
      path: t.string({ required: true, description: 'Where it is mounted: an absolute path, not "/", each once.' }),
      readOnly: t.boolean({ description: 'Whether the container may only read it.' }),
    }) satisfies InputFields<One<Given['volumes']>>,
});

const ResourcesInput = builder.inputType('ResourcesInput', {
  description: 'What a container may use at most. The operator sets how much may be asked for.',
  fields: (t) =>
    ({
      cpus: t.float({ description: 'CPUs, or parts of one: 1 unless given.' }),
      memoryMb: t.int({ description: 'Memory in MB of 1,048,576 bytes, without swap: 512 unless given.' }),
      pids: t.int({ description: 'Processes and threads: 256 unless given.' }),
    }) satisfies InputFields<One<Given['resources']>>,
});
const EnvInput = builder.inputType('EnvInput', {
  description: 'An environment variable.',
  fields: (t) =>
    ({
      name: t.string({ required: true, description: 'Its name: not empty, without "=", given once.' }),
      value: t.string({ description: 'Its value.' }),
      secret: t.boolean({ description: SECRET_DESCRIPTION }),
    }) satisfies InputFields<PairInput>,
});

const RegistryAuthInput = builder.inputType('RegistryAuthInput', {
  description: 'A login to the registry of a private image.',
  fields: (t) =>
    ({
      username: t.string({ required: true, description: 'The user, or what the registry takes in its place.' }),
      password: t.string({ required: true, description: 'The password or token: a secret.' }),
    }) satisfies InputFields<Login>,
});

export const ContainerInput = builder.inputType('ContainerInput', {
  description: 'A Docker image to be run.',
  fields: (t) =>
    ({
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
    }) satisfies InputFields<Given>,
});
