# Every task of this repository; `./justw X` fetches the tools and runs `just X`.
# A recipe holds no logic beyond building: what is tested is in the crates.

set shell := ["bash", "-euo", "pipefail", "-c"]

# What a person gives reaches the command as they gave it, spaces and all.
set positional-arguments

export PATH := justfile_directory() / ".tools/bin" + ":" + justfile_directory() / ".tools/venv/bin" + ":" + env("PATH")
# The pinned toolchain is there (justw saw to it); nothing else is fetched behind anybody's back.
export RUSTUP_AUTO_INSTALL := "0"

[private]
default:
    @just --list --unsorted

# Build everything that runs: target/debug/agentgate, agentgate-control-plane, and the filter's module
build: programs wasm

# Build the control plane, the CLI and the laptop's commands
programs:
    @cargo build --quiet -p agentgate-control-plane -p agentgate-cli -p agentgate-e2e --bin agentgate-control-plane --bin agentgate --bin laptop

# Build the filter's module
wasm:
    @cargo build --quiet -p agentgate-filter --profile wasm --target wasm32-wasip1

# One tour: start everything, make calls of every kind, show what was decided, leave nothing behind
try: (timed "programs" "the control plane and the CLI (minutes when it is the first time)") (timed "wasm" "the filter")
    @target/debug/laptop try

# Leave everything running in .run/, before the demo or before your own: `./justw up URL`, `./justw up --mcp-config FILE`
up *OPTIONS: (timed "programs" "the control plane and the CLI (minutes when it is the first time)") (timed "wasm" "the filter")
    @target/debug/laptop up "$@"

# End what `up` left running (`--remove` removes .run/ with the policy and traces of your own servers as well)
down *OPTIONS:
    @if [ -x target/debug/laptop ]; then target/debug/laptop down "$@"; else echo "nothing was running"; fi

# Every check there is, in the order in which they fail soonest
test:
    @tools/test

# Run the stories that matter most in every Envoy that tools/envoys/ lists (fetches 120 MB once; name other stories to run those)
envoys *STORIES: build
    @tools/envoys/run "$@"

# Measure what the gate costs beside Envoy alone, side by side in one run (`just bench --help`; builds for release first)
bench *OPTIONS:
    @cargo build --quiet --release -p agentgate-control-plane -p agentgate-cli -p agentgate-e2e --bin agentgate-control-plane --bin agentgate --bin bench
    @cargo build --quiet -p agentgate-filter -p agentgate-pass-filter --profile wasm --target wasm32-wasip1
    @target/release/bench "$@"

# Measure both journals, and what a long one costs, as on a disk whose syncs take so many microseconds more: `just journals WAIT_US`
journals WAIT_US="0":
    @cargo bench --quiet -p agentgate-control-plane --bench journal --bench postgres --bench long --no-run
    @cc -shared -fPIC -O2 -o target/slow_sync.so control-plane/benches/slow_sync.c
    @for bench in journal postgres long; do \
      SYNC_WAIT_US={{ WAIT_US }} LD_PRELOAD="$PWD/target/slow_sync.so" cargo bench --quiet -p agentgate-control-plane --bench "$bench"; done

# Live through worlds of several replicas on one journal, and hold the laws of consistency against every record: `just sim SEED [COUNT]`
sim SEED COUNT="1":
    @cargo test --quiet --release -p agentgate-control-plane --test sim -- "$1" "{{ COUNT }}"

# Kill a control plane under load N times and look for everything that it acknowledged (`--seed S` for the same again; builds for release first)
crash *OPTIONS:
    @cargo build --quiet --release -p agentgate-control-plane -p agentgate-cli -p agentgate-e2e --bin agentgate-control-plane --bin agentgate --bin crash
    @cargo build --quiet -p agentgate-filter --profile wasm --target wasm32-wasip1
    @target/release/crash "$@"

# Kill the control plane of commit REV and this tree's in turns on one journal, N times under load: `just upgrade REV [N]` (options of `crash` may follow; builds both for release first)
upgrade REV N="20" *OPTIONS:
    @older=$(tools/older "$1") && shift && just crash "$@" --older "$older"

# Rebuild N disks as a loss of power may leave them, and open each journal (builds the tests for release first)
power N="10000" SEED="1":
    AGENTGATE_DISKS={{ N }} AGENTGATE_SEED={{ SEED }} cargo test --quiet --release -p agentgate-control-plane --lib journal::tests::loss

# Look for a request that makes the parser panic (minutes; needs the nightly toolchain and cargo-fuzz)
fuzz SECONDS="60":
    cd proto/core/fuzz && cargo +nightly fuzz run reads -- -max_total_time={{ SECONDS }}

[private]
timed RECIPE WHAT:
    @tools/timed "{{ WHAT }}" just {{ RECIPE }}
