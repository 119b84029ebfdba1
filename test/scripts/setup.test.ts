/**
 * scripts/setup.sh on machines that lack something. Each test gets its own mount namespace, where /usr and /etc are overlays that may be
 * changed at will, and a small checkout of its own. npm, apt-get and systemctl are stand-ins that write down how they were called;
 * make, node and tsc are the real ones.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { asNobody, bindNode } from "../nobody.js";

const repo = fileURLToPath(new URL("../..", import.meta.url));
const policy = "/usr/sbin/policy-rc.d";
const firstRun =
  "setup: the first run installs and builds what is missing; that can take some minutes (logs in build/setup)";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "l7egg-setup-"));
  mkdirSync(join(folder, "fs"));
  for (const [file, content] of Object.entries(checkout)) write(`checkout/${file}`, content);
  cpSync(join(repo, "scripts", "setup.sh"), join(folder, "checkout/scripts/setup.sh"));
  for (const [name, body] of Object.entries(standIns)) write(`bin/${name}`, `#!/bin/bash\n${body}`, 0o755);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("a fresh checkout: each step once; the second time nothing at all", () => {
  const { code, out } = onMachine(
    "rm -f /usr/bin/dig /usr/include/bpf/libbpf.h",
    "setup --test",
    "echo --- && setup --test",
  );
  assert.equal(code, 0);
  assert.deepEqual(out.split("\n"), [
    firstRun,
    "setup: system packages: libbpf-dev bind9-dnsutils",
    "setup: npm packages",
    "setup: addon (native/)",
    "setup: eBPF object (bpf/)",
    "setup: ABI: TypeScript agrees with bpf/l7egg_abi.h",
    "setup: TypeScript",
    "---",
    "",
  ]);
  assert.deepEqual(calls("npm"), ["ci --ignore-scripts --include=dev --no-audit --no-fund --prefer-offline"]);
  assert.deepEqual(
    calls("apt-get").map((line) => line.replace(/^.* (update|install)/, "$1")),
    ["update", "install --no-upgrade libbpf-dev bind9-dnsutils"],
  );
  assert.ok(existsSync(join(folder, "checkout/dist/cli/main.js")));
});

test("only what its input says is done again", () => {
  const { code, out } = onMachine(
    "setup --build-only >/dev/null",
    "echo 1 && setup --build-only",
    `echo 2 && echo "// more" >>src/cli/main.ts && setup --build-only`,
    "echo 3 && touch native/addon.c && setup --build-only",
    `echo 4 && echo >>bpf/l7egg_abi.h && setup --build-only`,
    `echo 5 && echo >>package-lock.json && setup --build-only`,
    "echo 6 && rm -r node_modules && setup --build-only",
    "echo 7 && rm -r dist && setup --build-only",
  );
  assert.equal(code, 0);
  assert.deepEqual(out.trim().split("\n"), [
    ...["1", "setup: nothing to do"],
    ...["2", "setup: TypeScript"],
    ...["3", "setup: addon (native/)"],
    ...["4", "setup: eBPF object (bpf/)", "setup: ABI: TypeScript agrees with bpf/l7egg_abi.h"],
    ...["5", "setup: npm packages", "setup: TypeScript"],
    ...["6", "setup: npm packages"],
    ...["7", "setup: TypeScript"],
  ]);
});

test("no service starts while packages are installed, and the policy goes afterwards", () => {
  const { code, out } = onMachine(
    `rm -f ${policy} /usr/sbin/nginx`,
    "setup --test >/dev/null",
    `ls ${policy}* || true`,
  );
  assert.equal(code, 0);
  assert.deepEqual(calls("policy during apt-get"), ["101", "101"]);
  assert.deepEqual(calls("systemctl"), ["disable nginx.service"]);
  assert.equal(out, "");
});

test("a policy that the user had is there again, as it was", () => {
  const { out } = onMachine(
    `rm -f ${policy} /usr/bin/dig; printf '#!/bin/sh\\nexit 0 # mine\\n' >${policy}; chmod 751 ${policy}`,
    "setup --test >/dev/null",
    `cat ${policy}; stat -c %a ${policy}; ls ${policy}*`,
  );
  assert.deepEqual(calls("policy during apt-get"), ["101", "101"]);
  assert.equal(out, `#!/bin/sh\nexit 0 # mine\n751\n${policy}\n`);
});

test("apt-get fails: its log is shown, the policy goes", () => {
  const { code, out, err } = onMachine(
    `rm -f ${policy} /usr/bin/dig`,
    "code=0; APT_FAILS=1 setup --test || code=$?",
    `ls ${policy}* || true; exit $code`,
  );
  assert.equal(code, 1);
  assert.equal(out, `${firstRun}\nsetup: system packages: bind9-dnsutils\n`);
  assert.match(err, /^no such package today$/m);
  assert.match(err, /^setup: system packages: bind9-dnsutils: failed with exit code 100 after \d+ s \(log above/m);
});

test("ended during apt-get: the policy goes; killed: the next set-up takes it away", () => {
  for (const [signal, left] of [
    ["TERM", 0],
    ["KILL", 1],
  ] as const) {
    const { out } = onMachine(
      `rm -f ${policy} /usr/bin/dig`,
      `(export APT_SLEEPS=1; exec bash scripts/setup.sh --test >/dev/null 2>&1) & pid=$!`,
      // `|| true`: the loop's own ls fails until the file is there.
      `for i in $(seq 100); do [ -e ${policy} ] && break; sleep 0.05; done; sleep 0.2`,
      `kill -${signal} $pid; wait $pid || true; ls ${policy}* 2>/dev/null | wc -l`,
      // apt-get itself goes on when only the script is killed; it ends by itself.
      "sleep 1; touch /usr/bin/dig; chmod +x /usr/bin/dig; setup --build-only >/dev/null; setup --test",
      `ls ${policy}* 2>/dev/null | wc -l`,
    );
    assert.equal(out, `${left}\n0\n`, signal);
  }
});

test("Ubuntu's bpftool is a wrapper for the tools of one kernel: those of another serve as well", () => {
  const { code, out, err } = onMachine(
    `rm -f /etc/os-release; echo ID=ubuntu >/etc/os-release`,
    `printf '#!/bin/sh\necho "bpftool not found for kernel 1.2.3"; exit 2\n' >/usr/sbin/bpftool`,
    "setup --test -- bpftool version",
    "echo --- && setup --test -- bpftool version",
  );
  assert.equal(code, 0, err);
  assert.match(out, /\nsetup: system packages: linux-tools-common linux-tools-generic\n[^]*\nof 6\.8\n---\nof 6\.8\n$/);
  assert.equal(calls("apt-get").filter((line) => line.includes("install")).length, 1);
});

test("another distribution: the packages are named, nothing is installed", () => {
  const { code, err, out } = onMachine("rm -f /etc/debian_version /usr/bin/dig /usr/include/libelf.h", "setup --test");
  assert.equal(code, 2);
  assert.equal(out, "");
  assert.match(err, /^setup: .*Debian and Ubuntu only; please install .*: libelf-dev bind9-dnsutils\n$/);
  assert.deepEqual(calls("apt-get"), []);
});

test("another distribution that has everything: goes on", () => {
  const { code } = onMachine("rm -f /etc/debian_version", "setup --test");
  assert.equal(code, 0);
});

test("not root: one line", () => {
  const setupAsNobody = `${asNobody} bash scripts/setup.sh`;
  for (const mode of ["--test", "--demo", "--bench", ""]) {
    const { code, err, out } = onMachine(`${setupAsNobody} ${mode}`);
    assert.equal(code, 2, mode);
    assert.equal(out + err, "setup: this needs root: run it again with sudo, or as root\n");
  }
  const { code, err } = onMachine("rm -f /usr/include/zlib.h; chown -R 65534 .", `${setupAsNobody} --build-only`);
  assert.equal(code, 2);
  assert.equal(err, "setup: installing packages needs root: zlib1g-dev\n");
});

test("building is for everybody", () => {
  const { code, out } = onMachine(
    // Wherever this Node lives, nobody may not be let in there.
    bindNode("$T/bin/node"),
    "chown -R 65534 . ../calls",
    `${asNobody} bash scripts/setup.sh --build-only`,
  );
  assert.equal(code, 0);
  assert.match(out, /^setup: TypeScript$/m);
});

test("an old Node, no Node, a wrong argument: one line", () => {
  for (const [version, expected] of [
    ["18.20.8", "setup: Node.js >= 20 is needed; this is 18.20.8\n"],
    ["9.0.0", "setup: Node.js >= 20 is needed; this is 9.0.0\n"],
  ] as const) {
    write("bin/node", `#!/bin/sh\necho ${version}\n`, 0o755);
    assert.deepEqual(pick(onMachine("setup --test")), [2, expected]);
  }
  rmSync(join(folder, "bin/node"));
  assert.deepEqual(
    pick(onMachine("rm -f /usr/bin/node /usr/local/bin/node; PATH=$T/bin:/usr/bin:/bin", "setup --test")),
    [2, "setup: Node.js >= 20 is needed; there is no 'node' in PATH\n"],
  );
  const usage = "usage: scripts/setup.sh [--build-only | --test | --demo | --bench] [-- COMMAND...]";
  assert.deepEqual(pick(onMachine("setup --tset")), [2, `setup: unknown argument '--tset'; ${usage}\n`]);
  assert.deepEqual(pick(onMachine("setup --test now")), [
    2,
    "setup: unexpected argument 'now' (a command comes after --)\n",
  ]);
});

test("a step that fails shows its log and is done again next time", () => {
  write("checkout/src/cli/main.ts", `export const port: number = "443";\n`);
  const { code, err, out } = onMachine("code=0; setup --build-only || code=$?; setup --build-only || true; exit $code");
  assert.equal(code, 1);
  assert.match(err, /^src\/cli\/main\.ts\(1,14\): error TS2322/m);
  assert.match(err, /^setup: TypeScript: failed with exit code \d+/m);
  assert.equal(out.split("\n").filter((line) => line === "setup: TypeScript").length, 2);
});

test("the ABI header and its TypeScript disagree: said, with the generator's words", () => {
  write("checkout/scripts/gen-abi.ts", `console.error("run npm run gen:abi");\nprocess.exitCode = 1;\n`);
  const { code, err } = onMachine("setup --build-only >/dev/null");
  assert.equal(code, 1);
  assert.match(err, /^run npm run gen:abi$/m);
});

test("the command after -- runs in the checkout, with sbin in PATH, and its exit code counts", () => {
  const { code, out } = onMachine(
    "setup --build-only >/dev/null",
    `cd / && PATH=$T/bin:${dirname(process.execPath)}:/usr/bin:/bin bash $OLDPWD/scripts/setup.sh -- sh -c 'pwd; command -v iptables; exit 7'`,
  );
  assert.equal(code, 7);
  assert.equal(out, `${join(folder, "checkout")}\n/usr/sbin/iptables\n`);
});

interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs shell lines in the checkout, on a machine whose /usr and /etc are its own. `setup` is the script. */
function onMachine(...lines: readonly string[]): Result {
  rmSync(join(folder, "calls"), { recursive: true, force: true });
  mkdirSync(join(folder, "calls"), { mode: 0o777 });
  const script = [
    "set -e",
    `T=${folder}`,
    "mount -t tmpfs l7egg-test $T/fs",
    "mkdir -m 755 $T/fs/{usr,usrwork,etc,etcwork}",
    "for d in usr etc; do mount -t overlay l7egg-test -o lowerdir=/$d,upperdir=$T/fs/$d,workdir=$T/fs/${d}work /$d; done",
    `mkdir -p $T/lib/node_modules && mount --bind ${join(repo, "node_modules")} $T/lib/node_modules && mount -o remount,bind,ro $T/lib/node_modules`,
    "export PATH=$T/bin:$PATH T",
    "chmod 755 $T $T/bin",
    "cd $T/checkout",
    `setup() { bash scripts/setup.sh "$@"; }`,
    ...lines,
  ].join("\n");
  const result = spawnSync("unshare", ["--mount", "--propagation", "private", "bash", "-c", script], {
    encoding: "utf8",
    timeout: 120_000,
  });
  return { code: result.status, out: result.stdout, err: result.stderr };
}

/** How the stand-ins were called on the machine of the last `onMachine`, one line a call. */
function calls(name: string): string[] {
  const file = join(folder, "calls", name);
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
}

function pick({ code, out, err }: Result): [number | null, string] {
  return [code, out + err];
}

function write(path: string, content: string, mode = 0o644): void {
  const full = join(folder, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, content, { mode });
}

const checkout = {
  "package.json": `{ "name": "small", "type": "module" }\n`,
  "package-lock.json": "{}\n",
  "tsconfig.json": `{ "compilerOptions": { "rootDir": "src", "outDir": "dist", "skipLibCheck": true, "types": [] }, "include": ["src"] }\n`,
  "src/cli/main.ts": "export const port: number = 443;\n",
  "src/core/abi.generated.ts": "export const abi = 1;\n",
  "scripts/gen-abi.ts": "export {};\n",
  "native/Makefile": "../build/l7egg.node: addon.c\n\tcp addon.c $@\n",
  "native/addon.c": "\n",
  "bpf/Makefile": "../build/l7egg.bpf.o: l7egg_abi.h\n\tcp l7egg_abi.h $@\n",
  "bpf/l7egg_abi.h": "\n",
};

const standIns = {
  npm: `
echo "$*" >>$T/calls/npm
rm -rf node_modules && mkdir node_modules && ln -s $T/lib/node_modules/* node_modules/`,
  systemctl: `echo "$*" >>$T/calls/systemctl`,
  "apt-get": `
echo "$*" >>$T/calls/apt-get
code=0; /usr/sbin/policy-rc.d || code=$?
echo $code >>"$T/calls/policy during apt-get"
[ -z "$APT_SLEEPS" ] || sleep 1
[ -z "$APT_FAILS" ] || { echo no such package today; exit 100; }
case "$*" in *install*) ;; *) exit 0 ;; esac
for package in "$@"; do
  case $package in
    bind9-dnsutils) file=/usr/bin/dig ;;
    nginx) file=/usr/sbin/nginx ;;
    linux-tools-generic)
      file=/usr/lib/linux-tools/6.8.0-9-generic/bpftool
      mkdir -p \${file%/*} && printf '#!/bin/sh\\necho of 6.8\\n' >$file
      ;;
    libbpf-dev) file=/usr/include/bpf/libbpf.h ;;
    *) continue ;;
  esac
  touch $file && chmod +x $file
done`,
};
