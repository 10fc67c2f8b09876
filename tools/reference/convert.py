"""Writes a RADnet model file from a PyTorch checkpoint.

    convert.py CHECKPOINT OUT --name NAME --version V --intended-use TEXT [--config FILE.json] [--storage F32|F16|BF16]
               [--map FILE.json] [--check [SERIES]] [--radnet PROGRAM]

CHECKPOINT is a torchvision DenseNet state dict of any vintage (also wrapped in "state_dict", or with "module." prefixes), a state dict of
our own RadNet, or a RADnet model file. Without --config, a torchvision backbone gets the specification's default heads around it.
With --map (see converting/mapping.py) it is anybody's state dict, and --config describes the model. --check runs the engine on a DICOM
series, a random one if none is given, and compares it with PyTorch stage by stage; check.py does the same for any model file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from converting import mapping
from converting.checking import check
from radnet_reference import config as cfg
from radnet_reference import engine, weights
from radnet_reference.model import RadNet


def read_checkpoint(path: Path) -> dict:
    """A state dict from a pickle (tensors only) or a safetensors file; what else a pickle holds beside it is refused by PyTorch."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def build(state: dict, config: dict | None, seed: int) -> tuple[RadNet, list[str]]:
    """The model, and the names of tensors that the checkpoint did not give."""
    state = weights.modern_names(state)
    if config is None:
        config = cfg.standard()
        config["backbone"] = weights.backbone_shape(state)
        blocks = len(config["backbone"]["block_config"])
        config["segmentation"] = [b for b in config["segmentation"] if b <= blocks]
    own = set(weights.tensors(RadNet(config)))
    if own <= set(state):
        model = RadNet(config)
        weights.assign(model, state)
        return model.eval(), []
    return weights.from_torchvision(state, config, seed)


def mapped(state: dict, config: dict | None, file: Path) -> RadNet:
    """A model from others' names."""
    if config is None:
        raise ValueError("--map needs --config: names do not tell a model's shape")
    model = RadNet(config)
    for name, source in mapping.apply(mapping.read(file), state, model):
        print(f"{name} <- {source}")
    return model.eval()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--intended-use", required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--storage", choices=sorted(weights.STORAGE), default="F32")
    parser.add_argument("--seed", type=int, default=0, help="of tensors that the checkpoint lacks")
    parser.add_argument("--map", type=Path, help="rules for others' names")
    parser.add_argument("--check", nargs="?", type=Path, const=False, help="compare the engine with PyTorch, on a series or a random one")
    parser.add_argument("--radnet", type=Path, default=engine.BUILT)
    args = parser.parse_args()
    try:
        config = cfg.parse(args.config.read_text()) if args.config else None
        state = read_checkpoint(args.checkpoint)
        model, fresh = (mapped(state, config, args.map), []) if args.map else build(state, config, args.seed)
        weights.save(model, args.out, args.name, args.version, args.intended_use, args.storage)
    except (ValueError, OSError) as error:
        print(f"convert: {error}", file=sys.stderr)
        return 1
    if fresh:
        groups = sorted({name.split(".")[0] for name in fresh})
        print(f"{len(fresh)} tensors are not in the checkpoint and hold their seeded initialisation ({', '.join(groups)}): train before use")
    print(f"{args.out}: {args.out.stat().st_size} bytes, sha256 {weights.sha256(args.out)}")
    if args.check is None:
        return 0
    try:
        return 0 if check(args.out, args.check or None, args.radnet.resolve()) else 1
    except (engine.EngineError, OSError) as error:
        print(f"convert: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
