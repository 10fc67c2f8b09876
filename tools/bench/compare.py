#!/usr/bin/env python3
"""Time one scan through radnet-bench and through peers, in alternation, and write benches/RESULTS.md.

Every case is precision x slices x size. A round runs ours on noise, ours on a head, then each peer, each in a process of its own; medians over
the rounds are compared. What an engine or this processor cannot do is said in the table. The peers' script and their packages live outside
this repository (see README.md beside this file). Ratios of medians from one run are the result: machines differ and drift.

  compare.py --prepare     makes the peers' model files, which is slow, and times nothing
  compare.py               five rounds of every case
  compare.py --quick       three rounds with fewer repetitions
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INPUTS = ("noise", "head")
NAMES = {"ort": "ONNX Runtime", "ov": "OpenVINO", "torch": "PyTorch", "torch-compile": "PyTorch compiled"}
# What each peer's script can be asked for. PyTorch is left out: by the figures in the peers' README it is 1.8 times as slow.
PEERS = {"fp32": ("ort", "ov"), "bf16": ("ov",), "int8": ("ov",)}
# Seconds for one process. A peer beyond it is said to be, and not asked again. Exporting and quantising may take longer.
LIMIT, PREPARATION_LIMIT = 120, 3600


@dataclass
class Case:
    """One row of the table."""
    precision: str
    slices: int
    size: int
    times: dict = field(default_factory=dict)    # engine -> ms of each round
    refused: dict = field(default_factory=dict)  # engine -> why there is no time

    def engines(self):
        return (*INPUTS, *PEERS[self.precision])

    def median(self, engine):
        return statistics.median(self.times[engine]) if self.times.get(engine) else None

    def best_peer(self):
        there = [e for e in PEERS[self.precision] if self.median(e)]
        return min(there, key=self.median) if there else None


def repetitions(args, slices, size):
    """Warm-up and timed runs of one process: fewer where one takes seconds."""
    heavy = slices * size * size >= 8 * 512 * 512
    if args.quick:
        return (1, 1) if heavy else (1, 3)
    return (1, 3) if heavy else (2, 7)


def last_words(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].split(": ", 1)[-1] if lines else "no reason given"


def run(command, key, scale, limit=LIMIT):
    """Milliseconds of one process, or why there are none."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=limit)
    except subprocess.TimeoutExpired:
        return None, f"took more than {limit} s", {}
    if done.returncode:
        return None, last_words(done.stderr), {}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")] if scale != 1 else [done.stdout]
    document = json.loads(lines[-1])
    return document[key] * scale, None, document


def ours(args, case, image):
    warmup, reps = repetitions(args, case.slices, case.size)
    command = [args.radnet_bench, "--arch", "densenet121", "--device", "cpu", "--precision", case.precision, "--slices", str(case.slices),
               "--size", str(case.size), "--input", image, "--threads", str(args.threads), "--warmup", str(warmup), "--reps", str(reps),
               "--json", "-"]
    return run(command, "median_ms", 1)


def peer(args, case, engine, reps=None):
    warmup, timed = repetitions(args, case.slices, case.size)
    if reps is not None:
        warmup, timed = 0, reps
    command = [args.python, args.peers, "--engine", engine, "--precision", case.precision, "--slices", str(case.slices), "--size",
               str(case.size), "--threads", str(args.threads), "--warmup", str(warmup), "--reps", str(timed)]
    return run(command, "median_s", 1e3, LIMIT if reps is None else PREPARATION_LIMIT)


def measure(args, case):
    """All rounds of a case; the last document of ours."""
    info = {}
    for _ in range(args.rounds):
        for engine in case.engines():
            if engine in case.refused:
                continue
            ms, reason, document = ours(args, case, engine) if engine in INPUTS else peer(args, case, engine)
            if reason:
                case.refused[engine] = reason
            else:
                case.times.setdefault(engine, []).append(ms)
                info = document if engine in INPUTS else info
    return info


def cpuinfo(key):
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(key):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def bf16_instructions():
    return sorted({"avx512_bf16", "amx_bf16"} & set(cpuinfo("flags").split()))


def figure(ms):
    return "-" if ms is None else f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}"


def row(case):
    best = case.best_peer()
    ratio = lambda image: f"{case.median(best) / case.median(image):.2f}×" if best and case.median(image) else "-"
    peers = "; ".join(f"{NAMES[e]} {figure(case.median(e))}" for e in PEERS[case.precision])
    cells = [case.precision, f"{case.slices} × {case.size}²", figure(case.median("noise")), figure(case.median("head")), peers,
             NAMES[best] if best else "-", ratio("noise"), ratio("head")]
    return "| " + " | ".join(cells) + " |"


def remarks(cases):
    """What was not run, once for each reason, and what a peer's figure is where it is not what its column says."""
    seen = {}
    for case in cases:
        for engine, reason in case.refused.items():
            who = f"radnet {case.precision}" if engine in INPUTS else f"{NAMES[engine]} {case.precision}"
            seen.setdefault((who, reason), []).append(f"{case.slices} × {case.size}²")
    lines = [f"- {who}, {', '.join(dict.fromkeys(where))}: not run: {reason}" for (who, reason), where in seen.items()]
    if any(c.precision == "bf16" for c in cases) and not bf16_instructions():
        lines.append("- bf16: this processor has neither AVX512-BF16 nor AMX. OpenVINO then runs its float32 kernels whatever the hint says "
                     "(it reports f32).")
    if any(c.precision == "int8" for c in cases):
        lines.append("- int8: ours with ranges from the norms alone (data-free), OpenVINO quantised by NNCF from one scan. ONNX Runtime's int8 "
                     "needs a quantised file that its tools make otherwise; it is left out.")
    return lines


def report(args, cases, info, seconds):
    images = "noise has no air to skip; on a head three fifths of the pixels are air"
    text = [
        "# CPU results", "",
        f"Written by `tools/bench/compare.py{' --quick' if args.quick else ''}` on {date.today()}: {cpuinfo('model name')} (family {cpuinfo('cpu family')}, model {cpuinfo('model')}), {args.threads} threads, "
        f"{info.get('isa', 'no tier')}, radnet {info.get('version', '?')}; {seconds / 60:.0f} minutes, load average at the end {os.getloadavg()[0]:.1f}.",
        f"DenseNet-121, sigmoid attention, bidirectional LSTM 256, random weights. Medians of {args.rounds} rounds in alternation, in ms, host tensor "
        "to host result;",
        f"a ratio is the best peer's median over ours. Peers take noise, and their time does not depend on it; {images}.", "",
        "| precision | slices | radnet, noise | radnet, head | peers | best peer | ratio, noise | ratio, head |",
        "|---|---|---|---|---|---|---|---|", *map(row, cases), "", *remarks(cases), "",
        "```json", *(json.dumps({"precision": c.precision, "slices": c.slices, "size": c.size, "median_ms_per_round": c.times,
                                 "not_run": c.refused}) for c in cases), "```", "",
    ]
    Path(args.out).write_text("\n".join(text))


def prepare(args, cases):
    for case in cases:
        for engine in PEERS[case.precision]:
            start = time.monotonic()
            _, reason, _ = peer(args, case, engine, reps=1)
            print(f"{engine} {case.precision} {case.slices} x {case.size}: {reason or 'ready'} ({time.monotonic() - start:.0f} s)", flush=True)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--radnet-bench", default=str(ROOT / "target/release/radnet-bench"))
    p.add_argument("--peers", default=str(ROOT / "../shared/peers/bench_peers.py"), help="the peers' script; its PEERS_CACHE is passed on")
    p.add_argument("--python", default="python3", help="with onnxruntime, openvino, nncf and torch")
    p.add_argument("--precisions", default="fp32,bf16,int8")
    p.add_argument("--cases", default="1x256,32x256,1x512,32x512", help="slices x size")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, help="5, or 3 with --quick")
    p.add_argument("--quick", action="store_true", help="three rounds, fewer repetitions")
    p.add_argument("--prepare", action="store_true", help="make the peers' model files and time nothing")
    p.add_argument("--out", default=str(ROOT / "benches/RESULTS.md"))
    args = p.parse_args()
    args.rounds = args.rounds or (3 if args.quick else 5)
    return args


def main():
    args = arguments()
    pairs = [tuple(map(int, case.split("x"))) for case in args.cases.split(",")]
    cases = [Case(precision, *pair) for precision in args.precisions.split(",") for pair in pairs]
    if args.prepare:
        return prepare(args, cases)
    start, info = time.monotonic(), {}
    for case in cases:
        info = measure(args, case) or info
        print(row(case), f"[{time.monotonic() - start:.0f} s]", flush=True)
        # After each case, so that a run that is cut off leaves what it has.
        report(args, cases[:cases.index(case) + 1], info, time.monotonic() - start)
    if not any(case.times.get("noise") for case in cases):
        sys.exit("radnet-bench gave no time at all")


if __name__ == "__main__":
    main()
