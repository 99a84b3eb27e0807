#!/bin/sh
# Builds the bakery and runs it against the issuer of avouch's demo: one that runs already (`./just up`), else one that
# is started for the occasion. Exits with 0 only if the customer could buy and a stranger could not.
set -eu
umask 077

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
bin=$target/debug
work=$target/standalone
issuer_address=$root/target/demo/issuer/address.json
demo='' bakery=''

finish() {
    status=$?
    trap - EXIT
    for process in $bakery $demo; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() { # WHAT [FILE-TO-SHOW]
    printf 'standalone: %s\n' "$1" >&2
    [ $# -lt 2 ] || tail -n 20 "$2" >&2
    exit 1
}

wait_for() { # WHAT SECONDS PROCESS LOG COMMAND…: until the command succeeds, while the process lives
    what=$1 deadline=$(($(date +%s) + $2)) process=$3 log=$4
    shift 4
    until "$@"; do
        kill -0 "$process" 2>/dev/null || fail "$what: it has ended" "$log"
        [ "$(date +%s)" -lt "$deadline" ] || fail "$what: not in time" "$log"
        sleep 0.1
    done
}

address() { sed -n 's/.*"grpc":"\([^"]*\)".*/\1/p' "$1"; }
admin() { "$bin/avouch" "$@"; }
admin_answers() { [ -s "$issuer_address" ] && admin entry list >/dev/null 2>&1; }

enrol() { # NAME: registers the identity if it is not yet, and leaves a token for it
    id=spiffe://market.example/$1
    admin entry show "$id" >/dev/null 2>&1 || admin entry add "$id" --ttl 60s >/dev/null
    admin token create "$id" >"$work/$1.token"
}

rm -rf "$work"
mkdir -p "$work"

"$root/deploy/dev/step" "building the bakery" \
    env CARGO_TARGET_DIR="$target" cargo build --quiet --locked --manifest-path "$here/Cargo.toml"

if ! { [ -x "$bin/avouch" ] && admin_answers; }; then
    "$root/just" build
    "$bin/avouch-demo" up >"$work/demo.log" 2>&1 &
    demo=$!
    wait_for "the demo" 120 "$demo" "$work/demo.log" admin_answers
fi
AVOUCH_IDENTITY__ADDRESS=$(address "$issuer_address")
export AVOUCH_IDENTITY__ADDRESS

for name in bakery customer stranger; do
    enrol "$name"
done

cd "$work"
AVOUCH_AUTHZ__POLICY=$here/policy.toml "$bin/bakery" --config "$here/bakery.toml" >bakery.log 2>&1 &
bakery=$!
wait_for "the bakery" 20 "$bakery" bakery.log test -s bakery.address
AVOUCH_UPSTREAMS__BAKERY__URL=https://$(address bakery.address)
export AVOUCH_UPSTREAMS__BAKERY__URL

"$bin/customer" --config "$here/customer.toml" --loaves 2 >customer.out 2>customer.log ||
    fail "the customer could not buy" customer.log
grep -qx 'spiffe://market.example/customer bought 2, 10 are left' customer.out ||
    fail "the customer was answered something else" customer.out

if AVOUCH_IDENTITY__JOIN_TOKEN_FILE=stranger.token \
    "$bin/customer" --config "$here/customer.toml" >stranger.out 2>stranger.log; then
    fail "the stranger could buy" stranger.out
fi
grep -qx 'spiffe://market.example/stranger sees 10 loaves' stranger.out ||
    fail "the stranger could not look" stranger.log
grep -q 'PermissionDenied: ROLE_MISSING' stranger.log || fail "the stranger was not told why" stranger.log
grep '"call refused"' bakery.log | grep '"reason":"ROLE_MISSING"' |
    grep -q '"peer":"spiffe://market.example/stranger"' || fail "the bakery did not record it" bakery.log

kill "$bakery"
wait "$bakery" || fail "the bakery did not end well" bakery.log
bakery=''
cat customer.out
printf 'spiffe://market.example/stranger may look and not buy: %s\n' "$(sed -n 's/.*\(ROLE_MISSING: [^;]*\);.*/\1/p' stranger.log)"
