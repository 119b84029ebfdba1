#!/usr/bin/env bash
# Lint, then tests. `npm test` does the set-up first and then calls this.
#
#   scripts/test.sh                                everything
#   scripts/test.sh --lint                         lint only
#   scripts/test.sh [--grep REGEXP] [PATH...]      only these test files or folders, e.g. test/core; without lint
#
# Exit code: 0 all is well; 1 lint or a test failed (the other one has still run); 2 nothing matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

lint() {
  local failed=0
  check types node_modules/.bin/tsc -p tsconfig.check.json || failed=1
  check eslint node_modules/.bin/eslint --max-warnings 0 . || failed=1
  check prettier node_modules/.bin/prettier --check --log-level warn . || failed=1
  check "C warnings" c_warnings || failed=1
  check "ABI header" node --import tsx scripts/gen-abi.ts --check || failed=1
  return $failed
}

# A build of its own, in which a warning is an error: a user's newer compiler may warn of more, and that must not stop set-up.
c_warnings() {
  local out=$PWD/build/werror
  mkdir -p "$out"
  make -C native WERROR=1 BUILD="$out" && make -C bpf WERROR=1 OUT="$out/l7egg.bpf.o" && make -C bench WERROR=1 OUT="$out/bench"
}

check() {
  local label=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "lint: $label ok"
  else
    echo "lint: $label FAILED"
    printf '%s\n' "$output"
    return 1
  fi
}

status=0
mkdir -p build
case ${1-} in
  --lint)
    lint || status=1
    ;;
  '')
    lint || status=1
    node --import tsx scripts/run-tests.ts || status=$?
    [ $status = 0 ] || echo "npm test: FAILED (lint or tests, see above)"
    ;;
  *)
    node --import tsx scripts/run-tests.ts "$@" || status=$?
    ;;
esac
exit $status
