/**
 * What a person reads in place of the words of an engine. Those name folders, devices and processes
 * of the engine's host, which users must not see. They stay with the error (EngineError.words), for
 * the operator's log.
 */

/** A sentence for words about a payload or an image: ours where the words are known. */
export function shownWords(words: string): string {
  const shown = withoutLayers(boundedWords(words));
  for (const [pattern, sentence] of SENTENCES) {
    const found = pattern.exec(shown);
    if (found !== null) return sentence(...found.slice(1).filter((part) => part !== undefined));
  }
  const rest = /unable to start container process: (?:error during container init: )?(.+)/.exec(shown)?.[1];
  const sentence = rest && `The container cannot be started: ${rest.replace(/(?:: unknown)?(?:: Are you .*)?$/, '')}.`;
  return (sentence ?? shown).replace(HOSTS_PATH, '...');
}

/** The words themselves, for those that repeat what an author wrote. */
export function withoutHostPaths(words: string): string {
  return withoutLayers(boundedWords(words)).replace(HOSTS_PATH, '...');
}

/** A sentence for words about the engine or its host, which users cannot change. */
export function shownFault(words: string): string {
  const shown = boundedWords(words);
  return FAULTS.find(([pattern]) => pattern.test(shown))?.[1] ?? OTHER_FAULT;
}

/** Words without the names that a payload, an image or a Dockerfile has chosen. */
export function withoutChosenNames(words: string): string {
  return words.replace(CHOSEN, '');
}
const CHOSEN =
  /"(?:\\.|[^"\\])*"|(?<=\b(?:l?stat|open|mkdir|chdir|write|read|unlink|rename|SecureJoin) )\/[^":]*|(?<=\s)\/[^\s":]*|(?<=\b(?:unable to find (?:user|group)|no such (?:user|group):|[ug]id for (?:user|group)|invalid [a-z]+:) )[^:]*/gi;

const WORDS_LENGTH_MAX = 4_096;
const WORDS_END_LENGTH = 1_024;

/**
 * The beginning and the end of words: users write parts of them, and patterns look through them
 * many times. What is left ends and begins with a whole word, because half a path of the host does
 * not look like one.
 */
export function boundedWords(words: string): string {
  if (words.length <= WORDS_LENGTH_MAX) return words;
  const head = words.slice(0, WORDS_LENGTH_MAX - WORDS_END_LENGTH);
  const tail = words.slice(-WORDS_END_LENGTH);
  const from = tail.search(/[\s"]/);
  const to = Math.max(head.lastIndexOf(' '), head.lastIndexOf('"') + 1);
  return `${head.slice(0, to)}...${from < 0 ? '' : tail.slice(from)}`;
}

const OTHER_FAULT =
  'The Docker engine failed with an error of its own. The operator finds it in the log of the worker.';
const FAULTS: [RegExp, string][] = [
  [/no space left|no free blocks|quota exceeded/i, 'The disk of the Docker engine is full.'],
  [/cannot allocate memory/i, 'The host of the Docker engine has no memory left.'],
  [/too many open files/i, 'The Docker engine has too many open files.'],
  [/rlimit|cgroup/i, 'The Docker engine cannot set the limits of the container.'],
  [/input\/output error|read-only file system/i, 'The disk of the Docker engine does not work.'],
];

const SENTENCES: [RegExp, (...parts: string[]) => string][] = [
  [
    /^No command specified/,
    () => 'There is no command: the image names none, so the payload must have a command, or args.',
  ],
  [
    /exec: "\/sbin\/docker-init"/,
    () => 'A volume hides /sbin/docker-init, with which every container starts: mount it at another path.',
  ],
  [
    /exec: "([^"]*)": (?:executable file not found|(?:stat [^"]*: )?no such file)/,
    (name) => `The command "${name}" is not in the image.`,
  ],
  [
    /exec: "([^"]*)": (?:[^:]*: ){0,20}(permission denied|is a directory)/,
    (name, why) => `The command "${name}" cannot be executed: ${why}.`,
  ],
  [
    /error mounting "[^"]*docker-init" to rootfs at /,
    () =>
      'The image must have no folder or link at /sbin/docker-init, and no file in place of /sbin: every container starts with the program there.',
  ],
  [
    /error during container init: mkdir (\/[^:]*): ([a-z -]+)/,
    (path, why) => `The working directory "${path}" cannot be made: ${why}.`,
  ],
  [
    /(?:stat|reopening) \/dev\/null/,
    () => 'A volume hides /dev/null, which every container needs: mount it at another path.',
  ],
  [
    /error during container init: open \/proc\/sys\//,
    () => 'A volume of the image hides /proc, as VOLUME with "/" does: no container can start.',
  ],
  [
    /uids and gids must be in range|unable to setup user: invalid argument/,
    () => 'The user of the container has an id that no engine takes: user and group ids are 0 to 2147483647.',
  ],
  [/exec format error/, () => 'The command is no program for the platform of the Docker engine: exec format error.'],
  [
    /chdir to cwd \("([^"]*)"\) set in config\.json failed: ([a-z ]+)/,
    (path, why) => `The working directory "${path}" cannot be entered: ${why}.`,
  ],
  [
    /^Cannot mkdir: (.+) is not a directory$/,
    (path) => `The working directory cannot be made: ${path} is not a directory.`,
  ],
  [/unable to find (user|group) (\S+): /, (kind, name) => `The image has no ${kind} "${name}".`],
  [/OOM-killed/, () => 'The container has too little memory to start.'],
  [
    /argument list too long/,
    () => 'The command, its arguments and the environment are together too long to start a program.',
  ],
  [
    /^source (.+) is not (?:a )?directory$|error mounting "[^"]*" to rootfs at "([^"]+)".*: not a directory/,
    (path) => `A volume cannot be mounted at ${path}: the image has a file there, and a folder was expected.`,
  ],
  [
    /error mounting "[^"]*" to rootfs at "([^"]+)".{0,500}: mkdir .{0,500}: read-only file system/,
    (path) => `A volume cannot be mounted at ${path}: it lies in a volume that is read-only and has no such folder.`,
  ],
  [
    /too many links in (\/\S{1,1000})$/,
    (path) => `The path ${path} cannot be used in this image: too many symbolic links, or folders in folders.`,
  ],
  [/too many links in/, () => 'A path of the container has too many symbolic links, or too many folders in folders.'],
  [
    /^(?:lstat|stat|mkdir|open) (\/\S+): (not a directory|file name too long|too many levels of symbolic links)$/,
    (path, why) => `The path ${path} cannot be used in this image: ${why}.`,
  ],
];

/** Removes the engine's folders of layers and volumes: what follows is the container's path. */
function withoutLayers(words: string): string {
  return words.replace(LAYER, '');
}

const LAYER = /(?<![^\s":'=(])\/[^\s":]*?\/(merged(?=\/)|volumes\/[^\s":/]+\/_data(?=["\s:/]))/g;
/**
 * Paths that only a host has: the kernel's, those of sockets and processes, and those of an
 * engine's own folders, wherever its data lies. Three dots take their place.
 */
const HOSTS_PATH =
  /(?:(?:unix|npipe|file):\/\/)?(?<![^\s":'=(/])\/(?:(?:proc|sys|run|dev)\/[^\s":',)]*|var\/(?:run|lib)\/[^\s":',)]*|[^\s":',)]{0,512}(?:\/overlay2\/|\/aufs\/|\/vfs\/|\/containers\/[0-9a-f]{12}|\/volumes\/[^\s":',)/]+\/_data|\/image\/|\/buildkit|\/docker(?:-[a-z]+\d*)?\/|\/containerd\/|[0-9a-f]{64})[^\s":',)]*)/g;
