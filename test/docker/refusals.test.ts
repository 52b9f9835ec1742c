import { extract } from 'tar-stream';
import { describe, expect, test } from 'vitest';
import { folderArchive } from '../../platform/docker/container-files.ts';
import { fromBuild, fromPull, fromStatus, isPayloadsFault } from '../../platform/docker/errors.ts';
import { cpuMs } from '../support/cpu-time.ts';

/** Real answers of engines to a create or a start: the status, the message, and who is at fault. */
const RUNC =
  'failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process';
const LAYER = '/var/lib/docker/overlay2/0123abcd/merged';
const VOLUME = '/var/lib/docker/volumes/chronoverse-0a/_data';

test('the owner of a folder keeps an id as long as some platforms give', async () => {
  const entries = extract();
  entries.end(await folderArchive('data', { uid: 1_000_680_000, gid: 1_000_680_001, mode: 0o755 }));
  for await (const entry of entries) {
    expect(entry.header).toMatchObject({ name: 'data', pax: { uid: '1000680000', gid: '1000680001' } });
    entry.resume();
  }
});

test.each([
  "The command '/bin/sh -c echo cgroup rlimit && exit 3' returned a non-zero code: 3",
  "The command '/bin/sh -c echo layer does not exist; cat x: input/output error' returned a non-zero code: 1",
  'COPY failed: file not found in build context or excluded by .dockerignore: stat no space left: file does not exist',
  'dockerfile parse error on line 2: unknown instruction: cgroup',
  'Invalid containerPort: cgroup',
  'Invalid signal: rlimit',
  "unable to convert uid/gid chown string to host mapping: can't find uid for user cgroup: no such user: cgroup",
])("a build that fails with its author's own words is the author's: %s", (words) => {
  expect(fromBuild(words)).toMatchObject({ kind: 'INVALID', message: words });
});

test.each(['cgroup-tools', 'rlimit/too-many'])('an image of the name %s that is missing fills no disk', (name) => {
  const image = `127.0.0.1:5000/${name}:1`;
  expect(fromPull(`manifest for ${image} not found: manifest unknown`, image)).toMatchObject({ kind: 'NOT_FOUND' });
});

describe('a pull that fails', () => {
  const IMAGE = '127.0.0.1:503/app:500';
  test.each([
    ['failed to register layer: Error processing tar file(exit status 1): unexpected EOF', 'INVALID', 'gives no image'],
    [
      'failed to register layer: Error processing tar file(exit status 1): write /x: no space left on device',
      'BUSY',
      'no room',
    ],
    [
      "error parsing HTTP 429 response body: invalid character '<' looking for beginning of value",
      'BUSY',
      'come back later',
    ],
    ['received unexpected HTTP status: 502 Bad Gateway', 'BUSY', 'an error of its own'],
    [
      'unexpected status from HEAD request to http://127.0.0.1:503/v2/app: 504 Gateway Timeout',
      'BUSY',
      'an error of its own',
    ],
    [
      'Get "http://127.0.0.1:503/v2/": dial tcp 127.0.0.1:503: connect: connection refused',
      'UNREACHABLE',
      'not be reached',
    ],
    ['Get "https://127.0.0.1:503/v2/": http: server gave HTTP response to HTTPS client', 'INVALID', 'gives no image'],
  ])('with the words %s is %s', (words, kind, said) => {
    expect(fromPull(words, IMAGE)).toMatchObject({ kind, message: expect.stringContaining(said) });
  });
});

test.each(['failed to get layer sha256:0a: layer does not exist', 'No such image: sha256:0a', 'network x not found'])(
  'a build whose layer is gone passes: %s',
  (words) => {
    expect(fromBuild(words)).toMatchObject({ kind: 'BUSY' });
  },
);

describe('a container that an engine refuses', () => {
  test.each([
    [500, 'unable to find user nosuch: no matching entries in passwd file'],
    [500, 'Cannot mkdir: /bin/busybox is not a directory'],
    [500, `lstat ${LAYER}/bin/busybox/x: not a directory`],
    [500, `lstat ${LAYER}/tmp/aaa: file name too long`],
    [400, `${RUNC}: exec: "/no/such": stat /no/such: no such file or directory: unknown`],
    [500, `${RUNC}: exec: "/etc/passwd": permission denied: unknown`],
    [500, `${RUNC}: error during container init: chdir to cwd ("/root") set in config.json failed: permission denied`],
    [500, `${RUNC}: container init was OOM-killed (memory limit too low?): unknown`],
    [500, 'unable to find user rlimit: no matching entries in passwd file'],
    [500, `lstat ${LAYER}/etc/passwd/cgroup: not a directory`],
    [
      500,
      `${RUNC}: exec: "/no space left on device": stat /no space left on device: no such file or directory: unknown`,
    ],
    [500, `${RUNC}: exec: "/x \\"cgroup": permission denied: unknown`],
    [500, `${RUNC}: error during container init: mkdir /sys/nope: read-only file system: unknown`],
    [500, `${RUNC}: error during container init: mkdir /dev/pts/x: operation not permitted: unknown`],
    [500, `${RUNC}: unable to setup user: invalid argument: unknown`],
    [500, `${RUNC}: unable to setup user: uids and gids must be in range 0-2147483647: unknown`],
  ])('%i %s is the fault of the payload, whatever engine is asked', (status, words) => {
    expect(fromStatus(status, words)).toMatchObject({ kind: 'INVALID' });
  });

  test.each([
    [500, `${RUNC}: error during container init: error setting cgroup config for procHooks process: invalid argument`],
    [500, `${RUNC}: error during container init: error setting rlimits for ready process: operation not permitted`],
    [500, `${RUNC}: can't get final child's PID from pipe: EOF: unknown`],
    [500, 'failed to create shim task: context deadline exceeded: unknown'],
    [
      500,
      'failed to create endpoint x on network bridge: adding interface veth1 to bridge docker0 failed: invalid argument',
    ],
    [500, `mkdir ${LAYER}: no space left on device`],
    [500, `${RUNC}: error during container init: mkdir /work: no space left on device: unknown`],
    [500, `${RUNC}: error during container init: mkdir /work: read-only file system: unknown`],
    [500, `write ${LAYER}/"a" cgroup`],
    [503, 'the engine is starting'],
    [500, ''],
  ])('%i %s is the fault of the engine, and may pass', (status, words) => {
    expect(fromStatus(status, words)).toMatchObject({ kind: 'BUSY' });
  });

  test.each([
    `source ${LAYER}/etc/passwd is not directory`,
    `${RUNC}: error during container init: error mounting "${VOLUME}" to rootfs at "/etc/passwd": mount ${VOLUME}:/etc/passwd (via /proc/self/fd/6), flags: 0x5000: not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type`,
  ])('a volume over a file is reported in a sentence, without the folders of the host: %s', (words) => {
    expect(fromStatus(500, words)).toMatchObject({
      kind: 'INVALID',
      message: 'A volume cannot be mounted at /etc/passwd: the image has a file there, and a folder was expected.',
    });
  });

  test.each([
    ['exec: "', ''],
    ['exec: "x": ', ''],
    ['error mounting "', '" to rootfs at "/a": mkdir '],
    ['error mounting "/a" to rootfs at "/b": mkdir x', ''],
    ['container process exec ', ''],
    ['/', ''],
    ['=/', '/'],
    ["'/var/", 'merged'],
    ['a: ', ''],
    ['"\\', ' stat /'],
    ['invalid a: ', ' /'],
  ])('words of 256 KB take no time: %s%s', (one, two) => {
    const words = (one + two).repeat(Math.ceil((256 * 1024) / (one + two).length));
    const tookMs = cpuMs(() => {
      for (const status of [400, 500]) expect(fromStatus(status, words).message.length).toBeLessThan(5_000);
      isPayloadsFault(words);
      fromBuild(words);
    });
    expect(tookMs).toBeLessThan(1_000);
  });

  test('a long name of a command hides neither what went wrong nor a folder of the host', () => {
    const words = `${RUNC}: exec: "${'x'.repeat(60_000)}": executable file not found in $PATH: unknown`;
    const { kind, message } = fromStatus(500, words);
    expect({ kind, message }).toEqual({ kind: 'INVALID', message: expect.stringMatching(/^The command .* is not in/) });
    const path = `/data/docker/overlay2/${'y'.repeat(5_000)}/diff`;
    expect(fromStatus(400, `${'x '.repeat(1_500)} ${path}`).message).not.toContain('diff');
  });

  test("the host's folders for layers and volumes appear in no message", () => {
    expect(fromStatus(500, `lstat ${LAYER}/data/merged/x: not a directory`).message).toBe(
      'The path /data/merged/x cannot be used in this image: not a directory.',
    );
    expect(fromStatus(500, `open ${VOLUME}/file: input/output error`).message).not.toContain('/var/lib');
  });

  test.each([
    [
      400,
      `${RUNC}: exec: "/no/such": stat /no/such: no such file or directory: unknown`,
      'The command "/no/such" is not in the image.',
    ],
    [
      400,
      `${RUNC}: exec: "nosuch": executable file not found in $PATH: unknown`,
      'The command "nosuch" is not in the image.',
    ],
    [
      500,
      `${RUNC}: exec: "/etc/passwd": permission denied: unknown`,
      'The command "/etc/passwd" cannot be executed: permission denied.',
    ],
    [
      500,
      `${RUNC}: error during container init: chdir to cwd ("/root") set in config.json failed: permission denied: unknown`,
      'The working directory "/root" cannot be entered: permission denied.',
    ],
    [500, 'unable to find group nosuch: no matching entries in group file', 'The image has no group "nosuch".'],
    [500, `mkdir ${LAYER}: no space left on device`, 'The disk of the Docker engine is full.'],
    [
      500,
      `${RUNC}: error during container init: error setting cgroup config`,
      'The Docker engine cannot set the limits of the container.',
    ],
    [
      500,
      `${RUNC}: error during container init: error mounting "${VOLUME}" to rootfs at "/o/in": mkdir ${LAYER}/o/in: read-only file system: unknown`,
      'A volume cannot be mounted at /o/in: it lies in a volume that is read-only and has no such folder.',
    ],
    [
      500,
      `evalSymlinksInScope: too many links in ${LAYER}/l/x`,
      'The path /l/x cannot be used in this image: too many symbolic links, or folders in folders.',
    ],
    [
      400,
      `${RUNC}: exec: "/sbin/docker-init": stat /sbin/docker-init: no such file or directory: unknown`,
      'A volume hides /sbin/docker-init, with which every container starts: mount it at another path.',
    ],
    [
      500,
      `evalSymlinksInScope: too many links in ${LAYER}${'/a'.repeat(2_000)}`,
      'A path of the container has too many symbolic links, or too many folders in folders.',
    ],
    [400, 'No command specified', /^There is no command: /],
    [
      500,
      `${RUNC}: error during container init: mkdir /sys/nope: read-only file system: unknown`,
      'The working directory "/sys/nope" cannot be made: read-only file system.',
    ],
    [
      400,
      `${RUNC}: error during container init: mkdir /dev/null: not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type`,
      'The working directory "/dev/null" cannot be made: not a directory.',
    ],
    [400, `${RUNC}: unable to setup user: stat /dev/null: no such file or directory: unknown`, /hides \/dev\/null/],
    [
      400,
      `${RUNC}: error during container init: open /proc/sys/net/ipv4/ip_unprivileged_port_start: no such file or directory: unknown`,
      /^A volume of the image hides \/proc/,
    ],
    [
      500,
      `${RUNC}: unable to setup user: uids and gids must be in range 0-2147483647: unknown`,
      /^The user of the container has an id that no engine takes/,
    ],
    [
      500,
      `${RUNC}: error during container init: error mounting "/usr/bin/docker-init" to rootfs at "/sbin/docker-init": SecureJoin /docker-init/: too many levels of symbolic links: unknown`,
      /^The image must have no folder or link at \/sbin\/docker-init/,
    ],
    [
      400,
      `${RUNC}: error during container init: error mounting "/usr/bin/docker-init" to rootfs at "/sbin/docker-init": mount /usr/bin/docker-init:/sbin/docker-init (via /proc/self/fd/6), flags: 0x5001: not a directory: unknown`,
      /^The image must have no folder or link at \/sbin\/docker-init/,
    ],
    [
      400,
      `${RUNC}: something strange at /proc/7/x: unknown`,
      'The container cannot be started: something strange at ...',
    ],
    [400, 'Duplicate mount point: /data', 'Duplicate mount point: /data'],
  ])('%i %s is said in a sentence', (status, words, sentence) => {
    const message = typeof sentence === 'string' ? sentence : expect.stringMatching(sentence);
    expect(fromStatus(status, words)).toMatchObject({
      kind: status === 400 ? 'INVALID' : expect.anything(),
      message,
      words,
    });
  });

  test.each([
    '/var/lib/docker/containers/0123456789abcdef/config.v2.json',
    '/srv/engine/overlay2/l/ABC:/srv/engine/overlay2/x/diff',
    '/mnt/docker/tmp/docker-builder123456/Dockerfile',
    '/home/me/.chronoverse/docker/data/image/overlay2/repositories.json',
    `/data/volumes/${'a'.repeat(64)}/opts.json`,
    '/run/containerd/io.containerd.runtime.v2.task/moby/0123/log.json',
    '/var/run/docker/netns/0123',
    'unix:///run/docker.sock',
    '/proc/self/fd/6',
    '/sys/fs/cgroup/memory/docker/0123/memory.limit_in_bytes',
  ])('no answer of an engine shows %s, and the operator still reads it', (path) => {
    for (const status of [400, 404, 409, 500, 503])
      for (const words of [
        `open ${path}: is strange`,
        `failed: "${path}": strange`,
        `not a directory: ${path}`,
        path,
      ]) {
        const error = fromStatus(status, words);
        expect(error.message).not.toMatch(/\/[a-z]/);
        expect(error.message).not.toBe('');
        expect(error.words).toBe(words);
        if (error.message !== words) expect(error.cause).toMatchObject({ message: words });
        expect(fromBuild(words).message).not.toMatch(/\/[a-z]/);
      }
  });
});
