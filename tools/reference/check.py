"""Compares the engine with PyTorch on one model file, stage by stage.

    check.py MODEL [--series FOLDER] [--radnet PROGRAM] [--device cpu|cuda] [--precision fp32|fp16|bf16]

Prints a row a stage (blocks, features, pooled vectors, recurrence, logits, maps) and a verdict; exits 1 when a tolerance is exceeded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from converting.checking import TOLERANCES, check
from radnet_reference import engine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--series", type=Path, help="a folder with one DICOM series; a random head otherwise")
    parser.add_argument("--radnet", type=Path, default=engine.BUILT)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=sorted(TOLERANCES), default="fp32")
    args = parser.parse_args()
    try:
        return 0 if check(args.model, args.series, args.radnet.resolve(), print, args.device, args.precision) else 1
    except (engine.EngineError, ValueError, OSError) as error:
        print(f"check: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
