// The directions of imports (docs/internals/README.md): no circle between files, and none between the folders of one folder.
// biome.json names what api/, workers/, db/, platform/ and domain/ may import of each other.
export default {
  forbidden: [
    {
      name: 'no-circle-of-files',
      comment: 'Two files that need each other are one idea, or share a third one: move it to a file below both.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-circle-of-folders',
      comment: 'A folder imports only folders below it: move what both need to the lower one.',
      severity: 'error',
      scope: 'folder',
      from: { path: '^(api|bin|db|domain|platform|workers)' },
      to: { circular: true },
    },
    {
      name: 'no-worker-in-another',
      comment: 'Workers run in processes of their own: what two of them need is in workers/shared/.',
      severity: 'error',
      from: { path: '^workers/(scheduling|workflow|execution|joblogs)/' },
      to: { path: '^workers/', pathNot: '^workers/(shared|$1)/' },
    },
  ],
  options: {
    includeOnly: '^(api|bin|db|dev|domain|platform|test|workers)/',
    tsPreCompilationDeps: true, // types count: they bind files together as values do
    tsConfig: { fileName: 'tsconfig.json' },
  },
};
