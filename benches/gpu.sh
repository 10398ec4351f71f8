#!/bin/bash
# Measures a GPU in at most fifteen minutes: checks, tuning, speed before and after tuning, a training step, a PPO step.
#
#   benches/gpu.sh target/release/parr OUT [MODEL [LIMIT]]
#
# MODEL is a GGUF file, such as SmolLM2. Without it, weights are random and there is no PPO step. LIMIT is the time for
# everything in seconds. Each part has its share of the rest, so that a slow part does not take the time of all others.
# OUT receives one JSON file for each part, and summary.txt. PARR_GPU chooses the GPU.
set -uo pipefail

parr=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
mkdir -p "$2"
out=$(realpath "$2")
model=${3:-}
end=$((SECONDS + ${4:-840}))
export PARR_CACHE=${PARR_CACHE:-$out/cache} NODEVICE_SELECT=1

# part NAME SECONDS COMMAND...: runs a command within its time, or within the rest.
part() {
    local name=$1 limit=$2 rest=$((end - SECONDS)) begin=$SECONDS
    shift 2
    if [ $rest -lt 5 ]; then
        echo "$name: left out, no time is left" | tee -a "$out/parts.txt"
        return
    fi
    timeout --signal=INT --kill-after=10 $((limit < rest ? limit : rest)) "$@" > "$out/$name.json" 2> "$out/$name.log"
    echo "$name: exit code $?, $((SECONDS - begin)) s" | tee -a "$out/parts.txt"
}

: > "$out/parts.txt"
speed=(--prefill 128,512 --decode 1,8,16 --repeats 3 --json)
part gpus 30 "$parr" doctor --gpus --json
for shape in 135m 1b 8b; do
    for quant in q4_0 q4_k; do
        # Rows of 576 weights are no whole blocks of q4_k.
        [ $shape-$quant = 135m-q4_k ] && continue
        train=()
        [ $shape = 135m ] && train=(--train --train-batch 1x128)
        part "$shape-$quant-before" 60 "$parr" bench --no-tune --random $shape --quant $quant "${speed[@]}" "${train[@]}"
        part "$shape-$quant-after" 80 "$parr" bench --random $shape --quant $quant "${speed[@]}" "${train[@]}"
    done
done
if [ -n "$model" ]; then
    part model-before 60 "$parr" bench --no-tune "$model" "${speed[@]}" --train --train-batch 4x256
    part tune 60 "$parr" tune "$model" --json
    part model-after 60 "$parr" bench "$model" "${speed[@]}" --train --train-batch 4x256
    part ppo 120 "$parr" align --model "$model" --prompts "$here/../examples/prompts.jsonl" --reward smollm2-principles \
        --principles "$here/../examples/chat/principles.toml" --algorithm ppo --steps 1 --batch 8 --out "$out/ppo"
fi
part doctor 240 "$parr" doctor --full --json

python3 - "$out" <<'PYTHON' | tee "$out/summary.txt"
import json, pathlib, sys

out = pathlib.Path(sys.argv[1])

def report(name):
    try:
        return json.loads((out / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None

def rows(report):
    for run in report["prefill"]:
        yield f"prefill {run['tokens']}", run["tokens_per_second"], "tok/s"
    for run in report["decode"]:
        yield f"decode {run['sequences']}", run["tokens_per_second"], "tok/s"
        yield f"decode {run['sequences']}, weights", run["weight_gb_per_second"], "GB/s"
    if "train" in report:
        train = report["train"]
        yield f"training step {train['sequences']} x {train['tokens']}", train["seconds"] * 1000, "ms"

for path in sorted(out.glob("*-before.json")):
    name = path.stem.removesuffix("-before")
    before, after = report(f"{name}-before"), report(f"{name}-after")
    if not before or not after:
        print(f"{name}: incomplete")
        continue
    rates = after["rates"]
    print(f"{name} on {after['adapter']} ({after['driver']}), kernels {after['kernels']}, weights in {after['loads']}; "
          f"plain kernels {rates['multiply_add_gflops_per_second']:.0f} GFLOP/s, {rates['read_gb_per_second']:.0f} GB/s")
    for (what, old, unit), (_, new, _) in zip(rows(before), rows(after)):
        print(f"  {what:24} {old:10.1f} {new:10.1f} {unit:6} ratio {new / old:.2f}")
checks = report("doctor")
if checks:
    print(f"doctor: {len(checks['checks']) - checks['failed']} of {len(checks['checks'])} checks passed")
PYTHON
