import type { Docker } from '../../platform/docker/docker.ts';
import { networkOf } from '../../workers/workflow/engine/networks.ts';

export interface Target {
  /** The target's name in a sentence. */
  what: string;
  host: string;
  port: number;
}

/**
 * The answer to a connect.
 *   OPEN     a connection was made
 *   REFUSED  the host answered that nothing listens there
 *   SILENT   no answer, or no way there
 */
export type Answer = 'OPEN' | 'REFUSED' | 'SILENT';

/** Containers like those of users, on the networks of two users who do not exist. */
export interface Probe {
  /** Undefined if the network has no way out. */
  gateway(): Promise<string | undefined>;
  /** Starts a server in a container of the first user. */
  listen(): Promise<Target>;
  reach(targets: Target[]): Promise<Map<Target, Answer>>;
  /** Like `reach`, from a container of the second user. */
  reachFromAnother(targets: Target[]): Promise<Map<Target, Answer>>;
}

/** Removes one thing that was made on the engine. */
export type Removal = () => Promise<void>;

const CONNECT_SECONDS = 3;
const RUN_MS_MAX = 60_000;
const LISTEN_PORT = 8080;
const LISTEN_MS_MAX = 20_000;

/**
 * When a thing's making begins, `onMake` gets the function that removes it. After the first
 * removal, nothing more is made.
 */
export async function openProbe(
  docker: Docker,
  { image, id }: { image: string; id: string },
  onMake: (name: string, remove: Removal) => void,
): Promise<Probe> {
  const networks = ['first', 'second'].map((user) => networkOf(`doctor-${id}`, user));
  const [first, second] = networks.map(({ name }) => name);
  if (first === undefined || second === undefined) throw new Error('There are two networks.');
  let count = 0;
  let isClosed = false;

  function make<T>(name: string, making: () => Promise<T>, remove: Removal): Promise<T> {
    if (isClosed) throw new Error('Nothing more is made on the engine.');
    const made = making();
    onMake(name, async () => {
      isClosed = true;
      await made.catch(() => undefined); // its maker gets the error
      await remove();
    });
    return made;
  }

  async function start(network: string, script: string): Promise<string> {
    count += 1;
    const name = `chronoverse-doctor-${id}-${count}`;
    const spec = {
      name,
      image,
      entrypoint: ['sh', '-c'],
      args: [script],
      labels: { 'chronoverse.doctor': id },
      network,
    };
    const container = await make(
      `container ${name}`,
      () => docker.createContainer(spec),
      () => docker.removeContainer(name, { force: true }),
    );
    await docker.startContainer(container);
    return container;
  }

  /**
   * The values that a script prints in lines like `@@name=value`, when it has ended or has printed
   * `until`.
   */
  async function said(container: string, timeoutMs: number, until?: string): Promise<Map<string, string>> {
    const values = new Map<string, string>();
    const signal = AbortSignal.timeout(timeoutMs);
    let text = '';
    try {
      for await (const part of await docker.openLog(container, { follow: true, signal })) {
        text += Buffer.from(part).toString('latin1');
        for (const [, name = '', value = ''] of text.matchAll(/@@(\w+)=(\S*)\n/g)) values.set(name, value);
        if (until !== undefined && values.has(until)) break;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    return values;
  }

  async function reach(network: string, targets: Target[]): Promise<Map<Target, Answer>> {
    const script = [...targets.map(({ host, port }, n) => tryTarget(n, host, port)), 'wait'].join('\n');
    const values = await said(await start(network, script), RUN_MS_MAX);
    return new Map(targets.map((target, n) => [target, answerOf(values.get(`t${n}`))]));
  }

  for (const network of networks) {
    await make(
      `network ${network.name}`,
      () => docker.ensureNetwork(network),
      async () => {
        if (!(await docker.removeNetwork(network.name))) throw new Error('It is in use.');
      },
    );
  }

  return {
    async gateway() {
      const script = `while read -r i d g rest; do [ "$d" = 00000000 ] && echo "@@gateway=$g"; done < /proc/net/route`;
      const hex = (await said(await start(first, script), RUN_MS_MAX)).get('gateway');
      return hex?.length === 8 ? [...Buffer.from(hex, 'hex')].reverse().join('.') : undefined;
    },

    async listen() {
      const script = `echo "@@address=$(hostname -i)"; while :; do nc -l -p ${LISTEN_PORT} < /dev/null; done`;
      const host = (await said(await start(first, script), LISTEN_MS_MAX, 'address')).get('address');
      if (host === undefined) throw new Error('The listening container printed no address.');
      return { what: 'another container', host, port: LISTEN_PORT };
    },

    reach: (targets) => reach(first, targets),
    reachFromAnother: (targets) => reach(second, targets),
  };
}

/**
 * All targets run at once in the background. A connection that stays open is closed after a
 * timeout.
 */
function tryTarget(n: number, host: string, port: number): string {
  const connect = `timeout ${2 * CONNECT_SECONDS} nc -w ${CONNECT_SECONDS} '${host.replaceAll("'", '')}' ${port}`;
  return `{ words=$(${connect} 2>&1 >/dev/null </dev/null); code=$?; case "$code$words" in 0*|143*|124*) echo @@t${n}=OPEN ;; *efused*) echo @@t${n}=REFUSED ;; *) echo @@t${n}=SILENT ;; esac; } &`;
}

function answerOf(text: string | undefined): Answer {
  return text === 'OPEN' || text === 'REFUSED' ? text : 'SILENT';
}
