"""How far PyTorch's own bfloat16 takes the golden models from their float64 probabilities: what the format costs, whoever computes in it.

    bf16.py

Prints the largest |Δp| of each model in float32, under autocast (products in bfloat16) and with all numbers in bfloat16.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from radnet_reference import preprocess, scan, weights

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


def row(name: str) -> dict[str, float]:
    """Largest |Δp| by arithmetic."""
    model, _ = weights.load(GOLDEN / f"{name}.model.safetensors")
    model.eval()
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as case:
        hu, expected = case.get_tensor("hu").numpy(), case.get_tensor("probabilities").numpy()
        spacing = json.loads(case.metadata()["golden.pixel_spacing_mm"])
    x = preprocess.prepare(hu, model.config["input"], spacing, torch.float32)
    with torch.no_grad():
        found = {"float32": model(x)}
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found["autocast"] = model(x)
        found["bfloat16"] = copy.deepcopy(model).bfloat16()(x.bfloat16())
    return {kind: float(np.abs(scan.sigmoid(z.double().numpy()) - expected).max()) for kind, z in found.items()}


def main() -> None:
    print(f"{'model':24} {'float32':>9} {'autocast':>9} {'bfloat16':>9}")
    for name in json.loads((GOLDEN / "index.json").read_text())["cases"]:
        found = row(name)
        print(f"{name:24} {found['float32']:9.1e} {found['autocast']:9.1e} {found['bfloat16']:9.1e}")


if __name__ == "__main__":
    main()
