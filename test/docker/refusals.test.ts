import { describe, expect, test } from 'vitest';
import { fromStatus } from '../../platform/docker/errors.ts';

/** Real answers of engines to a create or a start: the status, the message, and who is at fault. */
const RUNC =
  'failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process';
const LAYER = '/var/lib/docker/overlay2/0123abcd/merged';
const VOLUME = '/var/lib/docker/volumes/chronoverse-0a/_data';

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

  test("the host's folders for layers and volumes appear in no message", () => {
    expect(fromStatus(500, `lstat ${LAYER}/data/merged/x: not a directory`).message).toBe(
      'lstat /data/merged/x: not a directory',
    );
    expect(fromStatus(500, `open ${VOLUME}/file: input/output error`).message).not.toContain('/var/lib');
  });
});
