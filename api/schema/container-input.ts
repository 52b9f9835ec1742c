import { builder } from './builder.ts';

const BuildFileInput = builder.inputType('BuildFileInput', {
  description: 'A file beside the Dockerfile.',
  fields: (t) => ({
    path: t.string({
      required: true,
      description: 'Where, relative to the Dockerfile: at most 100 bytes, without "..".',
    }),
    content: t.string({ required: true, description: 'What is in it. One that begins with "#!" is executable.' }),
  }),
});

export const ImageBuildInput = builder.inputType('ImageBuildInput', {
  description: 'An image to be built, once for each revision of the payload.',
  fields: (t) => ({
    dockerfile: t.string({
      required: true,
      description: 'The text of the Dockerfile. It names its images without variables, and adds no URLs.',
    }),
    files: t.field({ type: [BuildFileInput], description: 'Files beside it, for COPY: at most 100.' }),
  }),
});

export const VolumeInput = builder.inputType('VolumeInput', {
  description: "A named volume of the owner's, made on first use and kept.",
  fields: (t) => ({
    name: t.string({
      required: true,
      description: 'Its name among the owner\'s: 1 to 64 letters, digits, "_", "." and "-".',
    }),
    path: t.string({ required: true, description: 'Where it is mounted: an absolute path, not "/", each once.' }),
    readOnly: t.boolean({ description: 'Whether the container may only read it.' }),
  }),
});

export const ResourcesInput = builder.inputType('ResourcesInput', {
  description: 'What a container may use at most. The operator sets how much may be asked for.',
  fields: (t) => ({
    cpus: t.float({ description: 'CPUs, or parts of one: 1 unless given.' }),
    memoryMb: t.int({ description: 'Memory in MB of 1,048,576 bytes, without swap: 512 unless given.' }),
    pids: t.int({ description: 'Processes and threads: 256 unless given.' }),
  }),
});
