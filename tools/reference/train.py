"""Trains the demo model on synthetic heads.

    train.py warmup   --work DIR --seconds N            stage 1 on slices drawn in NumPy
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from radnet_reference import config as cfg
from training import data
from training.stage1 import Phase, Trainer

SEED = 2018


def warmup(args: argparse.Namespace) -> None:
    slices = data.drawn(args.slices, args.work / "drawn.npz")
    trainer = Trainer(cfg.standard(), args.work, SEED)
    checkpoint = args.work / "warmup.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    trainer.run([Phase("warmup-128", 128, 16, args.seconds, 1.5e-3, 2e-4)], slices, checkpoint)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("warmup")
    command.set_defaults(run=warmup)
    command.add_argument("--work", type=Path, required=True)
    command.add_argument("--seconds", type=float, default=1500)
    command.add_argument("--slices", type=int, default=1600)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    args.run(args)


if __name__ == "__main__":
    main()
