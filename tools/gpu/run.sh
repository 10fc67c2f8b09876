#!/usr/bin/env bash
# On the day a GPU is there: kernel checks, comparison with the CPU, times; then PyTorch on the same network, and compute-sanitizer over the
# checks. Builds nothing: bring target/release/radnet-gpu. Ends with 1 when anything failed or there is no GPU. Usage: tools/gpu/run.sh [OUT]
set -uo pipefail
cd "$(dirname "$0")/../.."

out="${1:-benches/gpu}"
program="${RADNET_GPU:-target/release/radnet-gpu}"
python="${PYTHON:-python3}"
sanitizer="${SANITIZER:-$(command -v compute-sanitizer || echo target/cuda-sanitizer/compute-sanitizer)}"
failed=0

if [ ! -x "$program" ]; then
    echo "error: $program is missing: build it first with cargo build --release -p radnet-gpu" >&2
    exit 1
fi
mkdir -p "$out"
rm -f "$out/results.json" "$out/peers.jsonl" "$out/sanitizers.jsonl" "$out/skipped.txt"
skip() {
    echo "skipped: $1" >&2
    echo "$1" >>"$out/skipped.txt"
}

# The longest part first, so that it is there when time runs out.
timeout 240 "$program" run --out "$out" || failed=1
[ -f "$out/results.json" ] || exit 1

if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    timeout 150 "$python" tools/gpu/peers.py >"$out/peers.jsonl" || skip "peers.py: did not finish"
else
    skip "peers.py: $python has no PyTorch that sees a GPU"
fi

if [ -x "$sanitizer" ]; then
    for tool in memcheck racecheck synccheck; do
        log="$out/sanitizer-$tool.txt"
        status=0
        timeout "${SANITIZER_SECONDS:-55}" "$sanitizer" --tool "$tool" --error-exitcode 9 "$program" check >"$log" 2>&1 || status=$?
        [ "$status" = 0 ] || failed=1
        summary="$(grep -h 'SUMMARY' "$log" | tail -1 | tr -d '"\\=' )"
        [ "$status" = 124 ] && summary="not finished in time; so far: $(grep -c '"index"' "$log") cases"
        printf '{"tool": "%s", "status": %s, "summary": "%s"}\n' "$tool" "$status" "$summary" >>"$out/sanitizers.jsonl"
    done
else
    skip "compute-sanitizer: not on the path, nor at $sanitizer"
fi

"$program" finish --out "$out" || failed=1
exit "$failed"
