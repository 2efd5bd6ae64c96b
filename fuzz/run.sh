#!/usr/bin/env bash
# Runs every fuzz target, MINUTES in all (default 30): `fuzz/run.sh [MINUTES]`. Needs cargo-fuzz and a C++ compiler.
# What a run finds lies in fuzz/artifacts/; exit status 1 then.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

cargo fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing: cargo install cargo-fuzz --locked" >&2; exit 2; }
mapfile -t targets < <(cargo fuzz list)
seconds=$(( ${1:-30} * 60 / ${#targets[@]} ))
fuzz/seeds.py
# The sanitizers need a nightly compiler and would find what the project has none of: unsafe code. -a: debug assertions.
fuzz() { local command=$1; shift; cargo fuzz "$command" --sanitizer none -a "$@"; }
fuzz build
failed=()
for target in "${targets[@]}"; do
    printf '\n== %s, %d s\n' "$target" "$seconds"
    # The hang that is sought takes a second; what takes five stays one on a busy machine too.
    fuzz run "$target" -- -max_total_time="$seconds" -timeout=5 -rss_limit_mb=512 -print_final_stats=1 -verbosity=0 ||
        failed+=("$target")
done
printf '\nCPU time of this shell, then of all it ran (user, system):\n'
times
[ ${#failed[@]} -eq 0 ] || { echo "found something: ${failed[*]}" >&2; exit 1; }
