import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { createMask } from '../../domain/masking/mask.ts';

/**
 * Each secret contains characters that some writer escapes, and recognizable words at both ends and
 * in between, which show when they are not masked.
 */
const SECRETS = [
  `alpha'bravo"charlie$delta\`echo\\foxtrot golf!hotel`,
  `alpha''bravo é~#charlie{delta}[echo]^foxtrot=golf,hotel`,
  `'alpha\tbravo\x1bcharlie\x01delta\x7fecho'foxtrot\u{1f511}golf€hotel`,
  `~alpha#{bravo}#$charlie(delta);<echo>|foxtrot&golf*hotel?`,
  `#alpha%bravo@charlie+delta/echo:foxtrot-golf_hotel.`,
  `alpha's bravo charlie delta echo foxtrot golf hotel`,
];
const WORDS = /alpha|bravo|charlie|delta|echo|foxtrot|golf|hotel/;
const LOCALES = ['C', 'C.UTF-8'];

const POSIX = `
set -x; : "$KEY"; printf "%s\\n" "$KEY" > /dev/null; Y=$KEY; case "$KEY" in z) ;; esac; [ "$KEY" = z ]; set +x
env | grep -a ^KEY=; export -p | grep -a KEY=; set | grep -a ^KEY=; alias z="$KEY"; alias`;
const BASH = `${POSIX}
set -x; [[ $KEY == z ]]; set +x
printf "%q\\n" "$KEY"; declare -p KEY; declare -A A=([k]="$KEY"); declare -p A; B=("$KEY" b); declare -p B
echo "\${KEY@Q} \${KEY@A}"; /usr/bin/printf "%q\\n" "$KEY"`;
const PYTHON = `
import os, json, shlex
k = os.environ["KEY"]
print(repr(k), ascii(k), [k], {"k": k}, repr(os.environb[b"KEY"]), shlex.quote(k))
print(json.dumps(k), json.dumps(k, ensure_ascii=False), json.dumps({"cmd": "x " + shlex.quote(k)}), json.dumps(json.dumps(k)))`;
const NODE = 'console.log([process.env.KEY], JSON.stringify(process.env.KEY), { k: process.env.KEY })';
const RUBY = `require "shellwords"; require "json"; k = ENV["KEY"]
puts k.inspect, [k].inspect, k.dump, k.b.inspect, k.shellescape, k.to_json`;
const JQ = ['-n', '-r', 'env.KEY | tojson, @sh, @html, @uri, @base64, @csv "\\([.])"'];
const GO = `package main
import ("encoding/json"; "fmt"; "os")
func main() { k := os.Getenv("KEY"); fmt.Printf("%q %+q %#v %v\\n", k, k, []string{k}, k); b, _ := json.Marshal(k); fmt.Println(string(b)) }`;

function shown(command: string, args: string[], more: NodeJS.ProcessEnv): string {
  const { stdout, stderr } = spawnSync(command, args, { env: { PATH: process.env.PATH, ...more }, encoding: 'utf8' });
  return `${stdout}${stderr}`;
}

const isThere = (command: string, ...args: string[]) => spawnSync(command, args).error === undefined;
const folder = mkdtempSync(join(tmpdir(), 'chronoverse-writers-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The lines that still contain a part of the secret, apart from the words of the script itself. */
function leaks(secret: string, printed: string): string[] {
  const mask = createMask([secret]);
  const lines = printed.split('\n').map((line) => mask?.text(line) ?? line);
  return lines.filter((line) => WORDS.test(line.replaceAll(/\+ echo|KEY/g, '')));
}

function check(write: (more: NodeJS.ProcessEnv) => string): void {
  for (const KEY of SECRETS)
    for (const LC_ALL of LOCALES) {
      const printed = write({ KEY, LC_ALL });
      expect(createMask([KEY])?.text(printed), `${LC_ALL}: ${KEY}`).toContain('***');
      expect(leaks(KEY, printed), `${LC_ALL}: ${KEY}`).toEqual([]);
    }
}

describe('a secret is masked, whatever it is made of, in what is written by', () => {
  const shells = { sh: POSIX, dash: POSIX, bash: BASH };
  for (const [shell, script] of Object.entries(shells))
    test.skipIf(!isThere(shell, '-c', ':'))(shell, () => check((more) => shown(shell, ['-c', script], more)));

  test('node', () => check((more) => shown(process.execPath, ['-e', NODE], more)));
  test.skipIf(!isThere('python3', '-V'))('python3', () => check((more) => shown('python3', ['-c', PYTHON], more)));
  test.skipIf(!isThere('ruby', '-v'))('ruby', () => check((more) => shown('ruby', ['-e', RUBY], more)));
  test.skipIf(!isThere('jq', '--version'))('jq', () => check((more) => shown('jq', JQ, more)));

  test.skipIf(!isThere('go', 'version'))('go', () => {
    writeFileSync(join(folder, 'main.go'), GO);
    const binary = join(folder, 'writer');
    const env = { ...process.env, GOFLAGS: '-buildvcs=false', GOTOOLCHAIN: 'local' };
    expect(spawnSync('go', ['build', '-o', binary, join(folder, 'main.go')], { env, encoding: 'utf8' }).stderr).toBe(
      '',
    );
    check((more) => shown(binary, [], more));
  });
});
