const INSTALLATION = 'chronoverse.installation';

/** Several installations may share an engine. Each looks after its own objects alone. */
export function installationLabels(installation: string): Record<string, string> {
  return { [INSTALLATION]: installation };
}
