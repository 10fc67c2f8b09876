"""Trains RADnets. Every command goes on where a killed one stopped.

    train.py fit  --data KIND:PATH... --work DIR [--settings FILE] [--validation KIND:PATH...] [--init MODEL]    any labelled data; see README.md
    train.py tiny --work DIR [--phantom PROGRAM] [--radnet PROGRAM]          a tiny model on phantoms, judged by the engine, in minutes

The demo model, on synthetic heads:

    train.py warmup   --work DIR [--seconds N]                  stage 1 on slices drawn in NumPy
    train.py slices   --work DIR [--seconds N] [--whole-seconds N]   stage 1 on phantoms: crops, then whole slices
    train.py calibrate --work DIR                               norms at full size, rounded to the F16 of the file
    train.py encode   --work DIR [--part I --parts N]           slice vectors of the other scans; N processes share the work
    train.py scans    --work DIR                                stage 2 on scans stage 1 has not seen
    train.py tail     --work DIR --model FILE [--epochs N]      the last block, attention and recurrence of a finished model, over whole scans
    train.py evaluate --work DIR [--limit N]                    figures on held-out phantoms with shifted settings
    train.py export   --work DIR --out FILE --version V         the model file (F16)

The work folder holds phantoms that `radnet-phantom export` wrote (256 × 256 unless said otherwise):
    train256   --seeds 10000..11700 --sample 8   stage 1, seeds 10000 to 19999
    scans256   --seeds 2000..2300            stage 2, seeds 2000 to 2999
    valid256   --seeds 3000..3060            choice of stage 2's epoch, of the scan rule and of the threshold, seeds 3000 to 3999
    heldout    --seeds 9000..9077 --shift    evaluation; nothing is chosen on it
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from pathlib import Path

import numpy as np
import torch

from datasets.source import DataError
from fitting import parallel, run, settings, tiny
from fitting.journal import ResumeError
from radnet_reference import config as cfg
from radnet_reference import scan as rules
from radnet_reference import engine, weights
from radnet_reference.model import RadNet
from training import data, stage2, tail
from training.curves import draw, draw_tail
from training.evaluation import cached_look
from training.evaluation import evaluate as evaluate_scans
from training.metrics import log_loss
from training.stage1 import Phase, Trainer, calibrate_norms

SEED = 2018
SIZE = 256
RUN_LENGTHS = (1, 2, 3)
NAME = "radnet-demo"
INTENDED_USE = (
    "Demonstration and software testing only. Trained on synthetic phantoms, never on patients; not a medical device; "
    "not for diagnosis, triage or any other use on patients."
)


def warmup(args: argparse.Namespace) -> None:
    slices = data.drawn(args.slices, args.work / "drawn.npz")
    trainer = Trainer(cfg.standard(), args.work, SEED)
    checkpoint = args.work / "warmup.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    trainer.run([Phase("warmup-128", 128, False, 16, args.seconds, 1.5e-3, 2e-4)], slices, checkpoint)


def slices(args: argparse.Namespace) -> None:
    scans = training_scans(args)
    pool = data.slices_of(scans)
    print(f"stage 1: {len(scans)} scans, {len(pool.label)} slices, {int(pool.label.sum())} bleeding", flush=True)
    trainer = Trainer(cfg.standard(), args.work, SEED + 1)
    checkpoint = args.work / "slices.pt"
    start = Path(args.start) if args.start else args.work / "warmup.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    elif start.exists():
        trainer.load(start, weights_only=True)
    phases = [
        Phase("crops-112", 112, False, 12, args.seconds, 1.0e-3, 4e-4),
        # A head fits into 224 of the 256 pixels, seven cells of the attention; the air around it is met again when the norms are calibrated.
        # The first block, half of the time of a step, has learned its edges and grains by then.
        Phase("whole-224", 224, True, 8, args.whole_seconds, 4e-4, 0.0, ("conv0", "norm0", "denseblock1", "transition1")),
    ]
    trainer.run(phases, pool, checkpoint)


def calibrate(args: argparse.Namespace) -> None:
    """The averaged network of stage 1, its norms set on whole slices, every tensor rounded as the file will hold it."""
    trainer = Trainer(cfg.standard(), args.work, SEED)
    trainer.load(args.work / "slices.pt")
    model: RadNet = trainer.average["model"]
    pool = data.slices_of(training_scans(args))
    calibrate_norms(model, pool.hu[np.random.default_rng(SEED).permutation(len(pool.label))[: args.slices]])
    round_to_file(model)
    torch.save({"state": model.state_dict(), "log": json.dumps(trainer.progress.log)}, args.work / "calibrated.pt")


def round_to_file(model: RadNet) -> None:
    for tensor in weights.tensors(model).values():
        tensor.copy_(tensor.half().float())


def stage1_model(args: argparse.Namespace) -> tuple[RadNet, list[dict]]:
    """What `calibrate` left, and stage 1's log."""
    saved = torch.load(args.work / "calibrated.pt", weights_only=True)
    model = RadNet(cfg.standard()).requires_grad_(False).to(memory_format=torch.channels_last)
    model.load_state_dict(saved["state"])
    return model.eval(), json.loads(saved["log"])


def training_scans(args: argparse.Namespace) -> list[data.Scan]:
    return data.read_scans(args.work / "train256", SIZE, range(10000, 20000))


def fitting_scans(args: argparse.Namespace) -> list[data.Scan]:
    return data.read_scans(args.work / "scans256", SIZE, range(2000, 3000))


def validation_scans(args: argparse.Namespace) -> list[data.Scan]:
    return data.read_scans(args.work / "valid256", SIZE, range(3000, 4000))


def held_out_scans(args: argparse.Namespace) -> list[data.Scan]:
    return data.read_scans(args.work / "heldout", SIZE, range(9000, 10000))


def encode(args: argparse.Namespace) -> None:
    torch.set_num_threads(max(1, 2 // args.parts))
    model, _ = stage1_model(args)
    stage2.encode(model, validation_scans(args)[args.part :: args.parts], args.work / "vectors")
    stage2.encode(model, fitting_scans(args)[args.part :: args.parts], args.work / "vectors", jitter=True)
    for scan in held_out_scans(args)[args.part :: args.parts]:
        cached_look(model, scan, args.work / "looks")


def scans(args: argparse.Namespace) -> None:
    """Stage 2 once for each run length of the scan's rule; the one whose scan scores have the lowest log loss on the validation scans stays."""
    model, log = stage1_model(args)
    fitted = stage2.encode(model, fitting_scans(args)[: args.limit], args.work / "vectors", jitter=True)
    validation = stage2.encode(model, validation_scans(args)[: args.validation], args.work / "vectors")
    print(f"stage 2: {len(fitted)} scans, {sum(s.positive for s in fitted)} bleeding; validation {len(validation)}", flush=True)
    start, best = copy.deepcopy(model.state_dict()), None
    for n in RUN_LENGTHS:
        model.load_state_dict(start)
        model.config["scan"] = {"rule": "consecutive", "n": n}
        epochs = stage2.train(model, fitted, validation, args.epochs, SEED)
        round_to_file(model)
        loss = stage2.scan_log_loss(model, validation)
        print(f"runs of {n}: log loss of the validation scans {loss:.4f}", flush=True)
        if best is None or loss < best[0]:
            best = loss, n, epochs, copy.deepcopy(model.state_dict())
    _, n, epochs, state = best
    model.load_state_dict(state)
    model.config["scan"] = {"rule": "consecutive", "n": n}
    model.config["thresholds"]["any"] = choose_threshold(model, validation)
    torch.save({"state": model.state_dict(), "config": json.dumps(model.config)}, args.work / "final.pt")
    (args.work / "log.json").write_text(json.dumps({"slices": log, "scans": epochs}))
    draw(log, epochs, args.work / "curves.png")


def fit_tail(args: argparse.Namespace) -> None:
    """A finished model's tail on whole scans, each as it is and varied; then the run length with the lower log loss on the validation scans."""
    model, _ = weights.load(args.model)
    maps = lambda hu: tail.head_maps(model, hu)
    fitted = tail.cached(fitting_scans(args)[: args.limit], [("plain", tail.plain), ("varied", tail.varied)], maps, args.work / "maps")
    validation = tail.cached(validation_scans(args), [("plain", tail.plain)], maps, args.work / "maps")
    print(f"tail: {len(fitted)} looks at scans, {sum(m.positive for m in fitted)} bleeding; validation {len(validation)}", flush=True)
    epochs = tail.train(model, fitted, validation, args.epochs, SEED)
    round_to_file(model)
    z = tail.logits(model, validation)
    truth = np.array([m.positive for m in validation])
    n = min(tail.RUNS, key=lambda n: log_loss(tail.scores(z, n), truth))
    model.config["scan"] = tail.rule(n)
    model.config["thresholds"]["any"] = threshold_of(tail.scores(z, n), truth)
    torch.save({"state": model.state_dict(), "config": json.dumps(model.config)}, args.work / "final.pt")
    (args.work / "tail.json").write_text(json.dumps(epochs))
    draw_tail(epochs, args.work / "tail.png")


@torch.no_grad()
def choose_threshold(model: RadNet, validation: list[stage2.Encoded]) -> float:
    """The threshold for the model's own rule on the validation scans."""
    score = np.array([rules.score(model.config["scan"], rules.sigmoid(model.sequence(s.v.unsqueeze(0))[0, :, 0].numpy())) for s in validation])
    return threshold_of(score, np.array([s.positive for s in validation]))


def threshold_of(score: np.ndarray, truth: np.ndarray) -> float:
    """The middle of the range of thresholds with the best balanced accuracy, to two digits; 0.5 if it is among the best."""
    candidates = np.arange(0.05, 0.96, 0.01)
    balanced = np.array([((score >= t)[truth].mean() + (score < t)[~truth].mean()) / 2 for t in candidates])
    best = candidates[balanced >= balanced.max() - 1e-9]
    return 0.5 if np.abs(best - 0.5).min() < 0.005 else round(float(best[len(best) // 2]), 2)


def finished(args: argparse.Namespace) -> RadNet:
    saved = torch.load(args.work / "final.pt", weights_only=True)
    model = RadNet(cfg.parse(saved["config"]))
    model.load_state_dict(saved["state"])
    return model.eval()


def evaluate(args: argparse.Namespace) -> None:
    """Figures of the weights as the file holds them."""
    figures = evaluate_scans(finished(args), held_out_scans(args)[: args.limit], args.work / "looks")
    (args.work / "evaluation.json").write_text(json.dumps(figures, indent=1))
    print(json.dumps({k: v for k, v in figures.items() if k != "per_scan"}, indent=1))


def export(args: argparse.Namespace) -> None:
    weights.save(finished(args), args.out, NAME, args.version, INTENDED_USE, "F16")
    print(f"{weights.sha256(args.out)}  {args.out.name}")


def fit(args: argparse.Namespace) -> int:
    group = parallel.start(args.device)
    try:
        run.fit(settings.read(args.settings), args.data, args.validation, args.work, group, args.init)
    finally:
        group.close()
    return 0


def tiny_road(args: argparse.Namespace) -> int:
    return tiny.tiny(args.work, args.phantom, args.radnet, tiny.Size(args.scans, args.validation_scans, args.held_out, args.steps, args.epochs), args.seed)


def general(commands: argparse._SubParsersAction) -> None:
    """The commands that do not belong to the demo model."""
    sub = commands.add_parser("fit", help="train on labelled data")
    sub.set_defaults(run=fit)
    sub.add_argument("--data", nargs="+", required=True, metavar="KIND:PATH", help="rsna, cq500, ctich or phantom, and the folder")
    sub.add_argument("--validation", nargs="*", default=[], metavar="KIND:PATH", help="instead of a share of the patients of --data")
    sub.add_argument("--settings", type=Path, help="JSON or TOML")
    sub.add_argument("--init", type=Path, help="a model file to start from, as convert.py writes")
    sub.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    road = commands.add_parser("tiny", help="a tiny model on phantoms, from nothing to the engine")
    road.set_defaults(run=tiny_road)
    for name in ("phantom", "radnet"):
        road.add_argument(f"--{name}", type=Path, help="the built program; cargo builds it otherwise")
    usual = tiny.Size()
    for name, default in (("scans", usual.training), ("validation-scans", usual.validation), ("held-out", usual.held_out), ("steps", usual.steps), ("epochs", usual.epochs), ("seed", 1)):
        road.add_argument(f"--{name}", type=int, default=default)
    for parser in (sub, road):
        parser.add_argument("--work", type=Path, required=True)
        parser.add_argument("--threads", type=int, default=2, help="of PyTorch on the CPU")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(run, name: str = "", **options) -> None:
        sub = commands.add_parser(name or run.__name__)
        sub.set_defaults(run=run)
        sub.add_argument("--work", type=Path, required=True)
        for name, default in options.items():
            sub.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)

    command(warmup, seconds=1500.0, slices=1600)
    command(slices, seconds=2400.0, whole_seconds=1200.0, start="")
    command(calibrate, slices=256)
    command(encode, part=0, parts=1)
    command(scans, epochs=40, limit=1000, validation=1000)
    command(fit_tail, "tail", model=Path("weights/radnet-demo.safetensors"), epochs=8, limit=1000)
    command(evaluate, limit=77)
    command(export, out=Path("radnet-demo.safetensors"), version="0")
    general(commands)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(getattr(args, "threads", 2))
    torch.set_flush_denormal(True)
    try:
        return args.run(args) or 0
    except (DataError, ResumeError, settings.SettingsError, FileNotFoundError, tiny.RoadError, engine.EngineError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
