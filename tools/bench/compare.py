#!/usr/bin/env python3
"""Time one scan through radnet-bench and through peers, in alternation, and write benches/RESULTS.md.

The peers' script and their packages live outside this repository (see README.md beside this file). Ratios of medians from one run are
the result: machines differ and drift.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def ours(args, slices, size, image):
    command = [args.radnet_bench, "--arch", "densenet121", "--slices", str(slices), "--size", str(size), "--input", image,
               "--threads", str(args.threads), "--warmup", "2", "--reps", str(args.reps), "--json", "-"]
    document = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return document["median_ms"], document


def peer(args, engine, slices, size):
    command = [args.python, args.peers, "--engine", engine, "--precision", "fp32", "--slices", str(slices), "--size", str(size),
               "--threads", str(args.threads), "--reps", str(args.reps)]
    env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS")}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.splitlines()[-1])["median_s"] * 1e3


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--radnet-bench", default=str(ROOT / "target/release/radnet-bench"))
    p.add_argument("--peers", default=str(ROOT / "../shared/peers/bench_peers.py"))
    p.add_argument("--python", default="python3", help="with onnxruntime, openvino and torch")
    p.add_argument("--engines", default="ort,ov")
    p.add_argument("--cases", default="32x256,1x256", help="slices x size")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--out", default=str(ROOT / "benches/RESULTS.md"))
    args = p.parse_args()
    engines = args.engines.split(",")
    rows, raw, info = [], [], {}
    for case in args.cases.split(","):
        slices, size = map(int, case.split("x"))
        times = {name: [] for name in ["noise", "head", *engines]}
        for _ in range(args.rounds):
            for image in ("noise", "head"):
                median, info = ours(args, slices, size, image)
                times[image].append(median)
            for engine in engines:
                times[engine].append(peer(args, engine, slices, size))
        raw.append({"slices": slices, "size": size, "median_ms_per_round": times})
        median = {name: statistics.median(values) for name, values in times.items()}
        best = min(engines, key=lambda e: median[e])
        cells = [f"{slices} × {size}²", f"{median['noise']:.0f}", f"{median['head']:.0f}", *(f"{median[e]:.0f}" for e in engines),
                 best, f"{median[best] / median['noise']:.2f}×", f"{median[best] / median['head']:.2f}×"]
        rows.append("| " + " | ".join(cells) + " |")
        print(rows[-1], flush=True)
    head = ["slices", "radnet, noise", "radnet, head", *engines, "best peer", "ratio, noise", "ratio, head"]
    text = [
        "# CPU results", "",
        f"Written by `tools/bench/compare.py` on {date.today()}: {cpu_name()}, {args.threads} threads, {info.get('isa')}, fp32; load average at the end {os.getloadavg()[0]:.1f}.",
        f"DenseNet-121, sigmoid attention, bidirectional LSTM 256, random weights. Medians of {args.rounds} rounds in alternation, {args.reps} repetitions each, in ms;",
        "a ratio is the best peer's median over ours. Peers take noise; their time does not depend on it.", "",
        "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows, "",
        "```json", *(json.dumps(r) for r in raw), "```", "",
    ]
    Path(args.out).write_text("\n".join(text))


if __name__ == "__main__":
    main()
