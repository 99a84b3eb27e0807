# Every recipe is meant to be run through ./just, which brings its own `just` where none is installed.

set shell := ["sh", "-eu", "-c"]
set positional-arguments := true

step := justfile_directory() / "deploy/dev/step"
gate := justfile_directory() / "deploy/dev/gate"
built := env("CARGO_TARGET_DIR", justfile_directory() / "target") / "debug"
optimized := env("CARGO_TARGET_DIR", justfile_directory() / "target") / "release"
runs := "-p avouch-demo -p avouch-issuer -p avouch-cli -p market-storefront -p market-orders -p market-inventory -p market-payments -p market-ledger -p market-reports"

# Lists the recipes.
[private]
default:
    @'{{ just_executable() }}' --justfile '{{ justfile() }}' --list

# What `new` has made, to be built with the demo.
own := `for it in services/*/Cargo.toml; do [ ! -e "$it" ] || printf -- '-p %s ' "$(basename "$(dirname "$it")")"; done`

# Sets everything up, runs the market through attacks, renewals and kills, and reports. Options: --orders FILE|-, --json FILE
[group('run')]
demo *OPTIONS: build
    @exec '{{ built }}/avouch-demo' run "$@"

# The same set-up, kept running with a trickle of orders until Ctrl-C. Options: --orders FILE|-
[group('run')]
up *OPTIONS: build
    @exec '{{ built }}/avouch-demo' up "$@"

# A service of your own under services/NAME: crate, proto with a rule, policy, test, caller. `up` runs it. Options: NAME
[group('run')]
new *OPTIONS:
    @'{{ justfile_directory() }}/deploy/dev/new' "$@"

# Ends what an earlier demo left behind and removes its files: target/demo and certs/dev
[group('run')]
demo-clean: build
    @'{{ built }}/avouch-demo' clean

# Ten minutes of orders under kills and jumps of the clock, then calm; audits all of it. Options: --minutes N, --kills N, --clock-jumps N, --power-cuts, --seed S
[group('verify')]
soak *OPTIONS: build-soak
    @exec '{{ built }}/avouch-soak' "$@"

# 200 kills at random moments, each of which also loses what was not synced to the disk. Options as for soak
[group('verify')]
crashes *OPTIONS: build-soak
    @exec '{{ built }}/avouch-soak' --kills 200 --power-cuts --svid-life 10 --dir target/crashes "$@"

# The images of deploy/docker, from static programs and nothing else. Options: --release, --all (those of the tests too), names of images
[group('run')]
images *OPTIONS:
    @'{{ justfile_directory() }}/deploy/docker/build-images.sh' "$@"

# The same market in containers (deploy/compose): builds the images, starts them, waits until all are healthy
[group('run')]
containers-up:
    @'{{ justfile_directory() }}/deploy/compose/compose' up

# Ends the market in containers and removes all of it, volumes too
[group('run')]
containers-down:
    @'{{ justfile_directory() }}/deploy/compose/compose' down

# Builds what the demo runs.
[private]
build:
    @'{{ step }}' "building the issuer, the services and the demo" cargo build --locked --bins {{ runs }} {{ own }}

# Builds what the soak runs.
[private]
build-soak: build
    @'{{ step }}' "building the soak" cargo build --locked --bin avouch-soak {{ runs }} -p avouch-integration-tests

# All tests that need no container engine, then the container ring if an engine answers (AVOUCH_REQUIRE_DOCKER=1: or fail)
[group('verify')]
test *OPTIONS:
    @'{{ gate }}' tests "$@"
    @[ $# -gt 0 ] || '{{ gate }}' wear
    @'{{ gate }}' container-tests "$@"

# The container ring alone: scenarios over real images, one line each. Options: as for cargo nextest run
[group('verify')]
test-containers *OPTIONS:
    @AVOUCH_REQUIRE_DOCKER=1 '{{ gate }}' container-tests "$@"

# The one gate, and what CI runs: formatting, clippy, documentation, tests, licences and banned crates
[group('verify')]
check:
    @'{{ step }}' "formatting" cargo fmt --all --check
    @'{{ step }}' "the lock file of examples/standalone" '{{ gate }}' quietly cargo metadata --locked --format-version 1 --manifest-path '{{ justfile_directory() }}/examples/standalone/Cargo.toml'
    @'{{ step }}' "clippy, warnings denied" cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
    @RUSTDOCFLAGS="-D warnings" '{{ step }}' "documentation, warnings denied" cargo doc --locked --workspace --no-deps --quiet
    @'{{ gate }}' tests
    @'{{ gate }}' wear
    @'{{ gate }}' counts
    @'{{ gate }}' container-tests
    @'{{ gate }}' standalone
    @'{{ gate }}' deny

# Instructions and allocations of decide() and the verifier under valgrind, against crates/bench/counts.toml. Options: --record
[group('verify')]
counts *OPTIONS:
    @'{{ gate }}' counts "$@"

# The targets of fuzz/ under libFuzzer, each for some seconds. Options: SECONDS (10), names of targets (all). `test` runs them without it
[group('verify')]
fuzz *OPTIONS:
    @'{{ justfile_directory() }}/deploy/dev/fuzz' "$@"

# The issuer of an older revision with today's services, and the other way round: who renews, what fails. Options: REV
[group('verify')]
skew REV: build
    @'{{ justfile_directory() }}/deploy/dev/skew' "$@"

# Formats the whole workspace
[group('verify')]
fmt:
    @cargo fmt --all

# Throughput of normal clients during floods: at least four fifths of their calls, enrolments among them. For a quiet machine
[group('measure')]
floods:
    @AVOUCH_FLOOD_SHARE=0.8 '{{ step }}' "floods" cargo test --locked --workspace --test abuse --test issuer -- --nocapture --test-threads 1 throughput:: enrolment_attempts

# avouch beside its peers, in turns, as ratios (docs/performance.md). Options: --quick, GROUP…, --against BINARY-OR-REV, --json FILE, --list
[group('measure')]
bench *OPTIONS:
    @'{{ step }}' "building the benchmarks, optimized" cargo build --release --locked -p avouch-bench -p avouch-issuer
    @exec '{{ optimized }}/avouch-bench' "$@"

# Installs the peers of the benchmarks that no distribution has (Envoy, OpenBao) under target/tools, and names the others that are absent
[group('measure')]
bench-peers:
    @'{{ gate }}' bench-peers
