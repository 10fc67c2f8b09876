"""Writes tests/golden: small models of every kind with the float64 results that an engine must reproduce, and pre-processing alone.

    python tools/reference/golden.py [--out tests/golden]

The format of the files is described in README.md beside this script.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from radnet_reference import preprocess, scan, weights
from radnet_reference.model import RadNet
from radnet_reference.random_model import random_hu, randomise

STAGE_SAMPLES = 96
GEOMETRY_STRIDE = 5
MIN_DECISION_MARGIN = 0.03
INTENDED_USE = "Test fixture with random weights; not for any use on patients."

W_BRAIN, W_BLOOD, W_BONE = ({"level": 40.0, "width": 80.0}, {"level": 80.0, "width": 200.0}, {"level": 600.0, "width": 2800.0})
THREE = [(0, W_BRAIN), (0, W_BLOOD), (0, W_BONE)]
SEVEN = [(-3, W_BRAIN), (-1, W_BRAIN), (0, W_BRAIN), (1, W_BRAIN), (3, W_BRAIN), (0, W_BLOOD), (9, W_BONE)]
NO_RNN = {"kind": "none"}
NO_ATTENTION = {"kind": "none"}


def rnn(kind: str, hidden: int, layers: int = 1, bidirectional: bool = True) -> dict:
    return {"kind": kind, "hidden": hidden, "layers": layers, "bidirectional": bidirectional}


def attention(kind: str, heads: int) -> dict:
    return {"kind": kind, "heads": heads}


def net(init: int, growth: int, blocks: list[int], bn_size: int = 2, eps: float = 1e-5) -> dict:
    return {"kind": "densenet", "init_features": init, "growth_rate": growth, "block_config": blocks, "bn_size": bn_size, "bn_eps": eps}


def consecutive(n: int) -> dict:
    return {"rule": "consecutive", "n": n}


def top_k(k: int) -> dict:
    return {"rule": "mean_top_k", "k": k}


NOISY_OR = {"rule": "noisy_or"}
ONE, TWO, FIVE = ["any"], ["any", "subdural"], ["epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"]

# name: size, slices, channels, backbone, segmentation, attention, rnn, classes, scan; then what is unusual about it.
CASES = {
    "sigmoid_lstm": dict(size=[40, 37], slices=5, net=net(8, 4, [2, 3, 2]), seg=[1, 2, 3], att=attention("sigmoid", 1), rnn=rnn("lstm", 6), classes=ONE, scan=consecutive(3)),
    "growth12_plain": dict(size=[33, 47], slices=3, net=net(24, 12, [1, 2]), seg=[], att=NO_ATTENTION, rnn=NO_RNN, classes=FIVE, scan=NOISY_OR, channels=[(0, W_BLOOD)], storage="F16"),
    "softmax_gru2": dict(size=[35, 32], slices=4, net=net(8, 4, [2, 2, 1]), seg=[2], att=attention("softmax", 3), rnn=rnn("gru", 5, 2), classes=TWO, scan=top_k(2)),
    "seven_channels": dict(size=[38, 33], slices=3, net=net(6, 3, [1, 1]), seg=[1], att=attention("sigmoid", 4), rnn=rnn("lstm", 5, 2, False), classes=ONE, scan=consecutive(1), channels=SEVEN, mean=0.3, std=0.4),
    "six_blocks_one_slice": dict(size=[128, 131], slices=1, net=net(6, 4, [1, 1, 1, 1, 1, 2]), seg=[1, 6], att=attention("softmax", 1), rnn=rnn("lstm", 4), classes=TWO, scan=consecutive(2)),
    "one_block": dict(size=[32, 32], slices=2, net=net(9, 5, [3], 3), seg=[], att=attention("softmax", 1), rnn=rnn("gru", 4, 1, False), classes=ONE, scan=consecutive(4)),
    "bf16_storage": dict(size=[41, 36], slices=3, net=net(8, 6, [2, 2]), seg=[1, 2], att=attention("sigmoid", 2), rnn=rnn("lstm", 7), classes=TWO, scan=top_k(3), storage="BF16"),
    "hard_gammas": dict(size=[41, 34], slices=4, net=net(8, 4, [2, 3, 2]), seg=[2, 3], att=attention("sigmoid", 1), rnn=rnn("gru", 6), classes=ONE, scan=consecutive(2), hard=True),
    "hard_gammas_f16": dict(size=[36, 49], slices=3, net=net(10, 4, [2, 2]), seg=[], att=NO_ATTENTION, rnn=NO_RNN, classes=TWO, scan=NOISY_OR, hard=True, storage="F16"),
    "spacing": dict(size=[34, 40], slices=3, net=net(8, 4, [1, 2]), seg=[1], att=NO_ATTENTION, rnn=rnn("lstm", 5), classes=ONE, scan=consecutive(2), matrix=[47, 35], pixel=[3.3, 3.1], spacing=3.7),
    "downsampled": dict(size=[32, 45], slices=2, net=net(8, 4, [2, 1]), seg=[], att=attention("sigmoid", 2), rnn=NO_RNN, classes=ONE, scan=top_k(10), matrix=[53, 71]),
    "hidden40": dict(size=[34, 33], slices=6, net=net(8, 4, [1, 1]), seg=[], att=attention("sigmoid", 1), rnn=rnn("lstm", 40), classes=FIVE, scan=consecutive(3), storage="F16"),
    "four_blocks": dict(size=[64, 71], slices=1, net=net(8, 3, [1, 2, 2, 1], 4), seg=[1, 3, 4], att=attention("sigmoid", 1), rnn=rnn("lstm", 6), classes=ONE, scan=consecutive(3)),
    "odd_channels": dict(size=[39, 51], slices=3, net=net(7, 5, [2, 1, 2], 3, 1e-3), seg=[3], att=attention("softmax", 2), rnn=NO_RNN, classes=TWO, scan=NOISY_OR, channels=[(0, W_BRAIN), (-1, W_BLOOD)]),
    "gru3_long": dict(size=[32, 32], slices=11, net=net(6, 3, [1, 1]), seg=[], att=NO_ATTENTION, rnn=rnn("gru", 5, 3), classes=TWO, scan=consecutive(3), channels=[(0, W_BRAIN)]),
    "five_blocks": dict(size=[64, 75], slices=2, net=net(8, 4, [1, 1, 1, 1, 1]), seg=[5], att=attention("sigmoid", 3), rnn=rnn("gru", 4, 2, False), classes=ONE, scan=top_k(1), storage="BF16"),
}

# matrix, pixel spacing, output size, spacing_mm, outside_hu: the geometry of one slice.
GEOMETRY = {
    "identity": ([33, 40], None, [33, 40], None, -1000.0),
    "down_noninteger": ([61, 83], None, [32, 37], None, -1000.0),
    "down_integer": ([64, 96], None, [32, 32], None, -1000.0),
    "down_strong": ([131, 35], None, [32, 34], None, -1000.0),
    "up": ([19, 23], None, [41, 37], None, -1000.0),
    "up_rows_down_cols": ([17, 90], None, [35, 32], None, -1000.0),
    "spacing_crop": ([57, 49], [1.1, 1.3], [32, 33], 1.0, -1000.0),
    "spacing_pad": ([57, 49], [0.9, 0.45], [38, 33], 1.7, -777.0),
    "spacing_crop_and_pad_odd": ([40, 63], [0.5, 0.7], [33, 35], 0.8, -1024.0),
}


def case_config(case: dict) -> dict:
    channels = case.get("channels", THREE)
    classes = case["classes"]
    return {
        "input": {
            "size": case["size"],
            "spacing_mm": case.get("spacing"),
            "outside_hu": -1000.0,
            "channels": [{"slice_offset": o, "window": dict(w)} for o, w in channels],
            "mean": [case.get("mean", 0.0) + 0.01 * i * bool(case.get("mean")) for i in range(len(channels))],
            "std": [case.get("std", 1.0)] * len(channels),
        },
        "backbone": case["net"],
        "segmentation": case["seg"],
        "attention": case["att"],
        "rnn": case["rnn"],
        "classes": classes,
        "scan": case["scan"],
        "thresholds": {name: 0.5 for name in classes},
    }


def sample_stride(numel: int) -> int:
    """The smallest step that leaves at most STAGE_SAMPLES values and walks all axes (coprime to the size)."""
    stride = max(1, math.ceil(numel / STAGE_SAMPLES))
    while math.gcd(stride, numel) != 1:
        stride += 1
    return stride


@torch.no_grad()
def write_case(name: str, case: dict, out: Path, seed: int) -> dict:
    config = case_config(case)
    rows, cols = case.get("matrix", case["size"])
    spacing = case.get("pixel", [0.5, 0.5])
    hu = random_hu(case["slices"], rows, cols, seed)
    x32 = preprocess.prepare(hu, config["input"], spacing, torch.float32)
    x64 = preprocess.prepare(hu, config["input"], spacing, torch.float64)
    model = randomise(RadNet(config), x32, seed, case.get("storage", "F32"), case.get("hard", False))
    oracle = copy.deepcopy(model).double()
    stages: dict[str, torch.Tensor] = {}
    z = oracle(x64, stages).numpy()
    p = scan.sigmoid(z)
    _place_thresholds(config, p)
    model.config = config
    weights.save(model, out / f"{name}.model.safetensors", f"golden-{name}", "1", INTENDED_USE, case.get("storage", "F32"))

    dz = model(x32).double().numpy() - z
    decision = scan.decide(config, p)
    tensors = {
        "hu": torch.from_numpy(hu),
        "logits": torch.from_numpy(z),
        "probabilities": torch.from_numpy(p),
        "scan": torch.tensor([decision[c]["score"] for c in config["classes"]], dtype=torch.float64),
    }
    described = {}
    stages["input"] = x64
    for stage, t in stages.items():
        if stage == "logits":
            continue
        flat, stride = t.flatten(), sample_stride(t.numel())
        tensors[f"stage.{stage}"] = flat[::stride].to(torch.float32).clone()
        described[stage] = {"shape": list(t.shape), "stride": stride, "rms": float(flat.pow(2).mean().sqrt()), "max": float(flat.abs().max())}
    metadata = {
        "golden.format": "1",
        "golden.model": f"{name}.model.safetensors",
        "golden.pixel_spacing_mm": json.dumps(spacing),
        "golden.stages": json.dumps(described),
        "golden.positive": json.dumps({c: bool(d["positive"]) for c, d in decision.items()}),
        "golden.torch_f32_dz_sumsq": repr(float((dz**2).sum())),
        "golden.torch_f32_dz_count": str(dz.size),
        "golden.torch": torch.__version__,
    }
    save_file(tensors, out / f"{name}.safetensors", metadata=metadata)
    return {"sumsq": float((dz**2).sum()), "count": dz.size, "max": float(np.abs(dz).max()), "z": z, "decision": decision}


def _place_thresholds(config: dict, p: np.ndarray) -> None:
    """Keeps 0.5 unless the score is too near for reduced precision to be judged by its decision."""
    for name, d in scan.decide(config, p).items():
        if abs(d["score"] - 0.5) < MIN_DECISION_MARGIN:
            config["thresholds"][name] = 0.4


def write_preprocess(out: Path) -> None:
    tensors, described = {}, {}
    for seed, (name, (matrix, pixel, size, target, outside)) in enumerate(GEOMETRY.items()):
        hu = random_hu(1, *matrix, seed)
        part = {"size": size, "spacing_mm": target, "outside_hu": outside}
        volume = torch.from_numpy(hu.astype(np.float32))
        tensors[f"{name}.hu"] = torch.from_numpy(hu[0])
        tensors[f"{name}.f32"] = preprocess.geometry(volume, part, pixel)[0].contiguous()
        tensors[f"{name}.f64"] = preprocess.geometry(volume.double(), part, pixel)[0].flatten()[::GEOMETRY_STRIDE].clone()
        described[name] = {"pixel_spacing_mm": pixel, **part}
    metadata = {"golden.format": "1", "golden.cases": json.dumps(described), "golden.f64_stride": str(GEOMETRY_STRIDE), "golden.torch": torch.__version__}
    save_file(tensors, out / "preprocess.safetensors", metadata=metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "tests" / "golden")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    results = {name: write_case(name, case, args.out, 100 + i) for i, (name, case) in enumerate(CASES.items())}
    write_preprocess(args.out)
    rms = math.sqrt(sum(r["sumsq"] for r in results.values()) / sum(r["count"] for r in results.values()))
    index = {"format": 1, "cases": sorted(results), "torch_f32_rms_dz": rms, "torch": torch.__version__}
    (args.out / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    for name, r in results.items():
        scores = " ".join(f"{c}={d['score']:.3f}/{d['threshold']}" for c, d in r["decision"].items())
        print(f"{name:22} z in [{r['z'].min():6.2f}, {r['z'].max():5.2f}]  torch f32 max |dz| {r['max']:.1e}  {scores}")
    print(f"rms of torch's f32 dz: {rms:.3e}; {sum(f.stat().st_size for f in args.out.iterdir()) / 1024:.0f} KiB in {args.out}")


if __name__ == "__main__":
    main()
