"""The settings of a training run: one JSON or TOML file, every key optional, unknown keys refused by name."""

from __future__ import annotations

import copy
import json
import tomllib
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path

from radnet_reference import config as cfg


class SettingsError(ValueError):
    """A settings file that cannot be used; names the key."""


@dataclass(frozen=True)
class Augment:
    """Strength of each augmentation; 0 turns one off. Spreads are standard deviations unless said otherwise.

    A mirror swaps the patient's sides. No label says a side, so it stays true; up and down are never swapped, since a scanner does not.
    """

    rotation_deg: float = 15.0
    """Largest rotation in the slice."""
    scale: float = 0.14
    """Largest |log| of the change of size."""
    shift: float = 0.02
    """Of the slice's width."""
    mirror: float = 0.5
    """Probability."""
    offset_hu: float = 1.5
    """Calibration of the scanner."""
    gain: float = 0.02
    noise_hu: float = 3.0
    """Largest noise added, white or coarse."""
    kernel: float = 0.8
    """Largest share of a 3×3 blur that is mixed in (smooth kernels) or subtracted by half of it (sharp ones)."""
    level: float = 0.02
    """Jitter of the window level, in window widths."""
    width: float = 0.04
    """Jitter of the window width, log."""


@dataclass(frozen=True)
class Stage1:
    """The DenseNet with its heads on single slices."""

    steps: int = 20000
    batch: int = 32
    """Slices a step over all processes."""
    lr: float = 1e-3
    final_lr: float = 0.0
    warmup: float = 0.03
    """Share of the steps."""
    weight_decay: float = 1e-2
    clip: float = 5.0
    ema: float = 0.999
    positive_share: float = 0.5
    """Of the slices drawn, those with a finding; classes take turns, so that the rare ones are seen."""
    class_weights: dict[str, float] = field(default_factory=dict)
    """Weight of a class in the slice loss, 1 where missing."""
    segmentation_weight: float = 0.5
    attention_weight: float = 0.5
    validate_every: int = 1000
    validation_slices: int = 4000
    calibrate_slices: int = 256
    """Slices that set the norms' statistics of the averaged network at the end; 0 keeps the running averages."""


@dataclass(frozen=True)
class Stage2:
    """The recurrence and the classifier on whole scans."""

    mode: str = "cached"
    """`cached`: slice vectors computed once by stage 1's network, which stays as it is. `end_to_end`: the network goes on learning, its norms fixed."""
    epochs: int = 20
    batch: int = 8
    """Scans a step over all processes."""
    lr: float = 1e-3
    backbone_lr: float = 1e-5
    """End to end only."""
    final_lr: float = 0.0
    warmup: float = 0.03
    weight_decay: float = 3e-2
    clip: float = 1.0
    ema: float = 0.99
    scan_weight: float = 0.3
    """Of the scan's label through the scan rule, beside the slices' labels."""
    dropout: float = 0.3
    """Of slice vectors."""
    chunk: int = 8
    """Slices that pass through the DenseNet at once."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the result, given the data."""

    seed: int = 1
    name: str = "radnet"
    version: str = "1"
    intended_use: str = "Research only. Not a medical device."
    model: dict = field(default_factory=dict)
    """Keys of the model's config that differ from the standard; `arch` names one of torchvision's DenseNets."""
    precision: str = "auto"
    """`auto`: bf16 or fp16 on a GPU, fp32 on the CPU; else fp32, bf16, fp16."""
    validation_share: float = 0.1
    """Of the patients, by a hash of patient and `split_seed`; data sets given as validation are validation wholly."""
    split_seed: int = 1
    workers: int = 2
    """Processes that prepare scans, threads that make batches."""
    log_every: int = 50
    checkpoint_every: int = 500
    """Steps."""
    augment: Augment = field(default_factory=Augment)
    stage1: Stage1 = field(default_factory=Stage1)
    stage2: Stage2 = field(default_factory=Stage2)

    def config(self) -> dict:
        """The model's config."""
        changes = copy.deepcopy(self.model)
        config = cfg.standard(changes.pop("arch", "densenet121"))
        _merge(config, changes)
        if "segmentation" not in changes:
            config["segmentation"] = [b for b in config["segmentation"] if b <= len(config["backbone"]["block_config"])]
        if "thresholds" not in changes:
            config["thresholds"] = {c: 0.5 for c in config["classes"]}
        try:
            return cfg.validate(config)
        except cfg.ConfigError as error:
            raise SettingsError(f"model: {error}") from error

    def identity(self) -> str:
        """What a checkpoint must share with the settings it is resumed under."""
        free = ("workers", "checkpoint_every", "name", "version", "intended_use")
        return json.dumps({k: v for k, v in asdict(self).items() if k not in free}, sort_keys=True)


# Objects whose keys depend on their kind are replaced, not merged.
_WHOLE = ("attention", "rnn", "scan", "thresholds")


def _merge(config: dict, changes: dict) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict) and key not in _WHOLE:
            _merge(config[key], value)
        else:
            config[key] = value


def read(path: Path | None) -> Settings:
    """The settings of a file; the standard ones without."""
    if path is None:
        return Settings()
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return parse(values)


def parse(values: dict) -> Settings:
    """Settings from plain values."""
    settings = _build(Settings, values, "")
    settings.config()
    _check(settings)
    return settings


def _build(kind: type, values: object, where: str):
    if not isinstance(values, dict):
        raise SettingsError(f"{where or 'the file'} is not an object")
    hints = typing.get_type_hints(kind)
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"unknown key {where}{unknown[0]}; known are {', '.join(sorted(known))}")
    return kind(**{name: _value(hints[name], value, f"{where}{name}") for name, value in values.items()})


def _value(kind, value, where: str):
    if is_dataclass(kind):
        return _build(kind, value, f"{where}.")
    plain = typing.get_origin(kind) or kind
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, plain) or isinstance(value, bool):
        raise SettingsError(f"{where} is {value!r}, not {plain.__name__}")
    return value


def _check(s: Settings) -> None:
    classes = s.config()["classes"]
    for name, good in {
        "precision": s.precision in ("auto", "fp32", "bf16", "fp16"),
        "validation_share": 0 <= s.validation_share < 1,
        "stage1.steps": s.stage1.steps >= 0,
        "stage1.batch": s.stage1.batch >= 2,
        "stage1.positive_share": 0 <= s.stage1.positive_share <= 1,
        "stage1.class_weights": set(s.stage1.class_weights) <= set(classes),
        "stage2.mode": s.stage2.mode in ("cached", "end_to_end"),
        "stage2.epochs": s.stage2.epochs >= 0,
        "stage2.batch": s.stage2.batch >= 1,
        "stage2.chunk": s.stage2.chunk >= 1,
        "log_every": s.log_every >= 1,
        "checkpoint_every": s.checkpoint_every >= 1,
    }.items():
        if not good:
            raise SettingsError(f"{name} is out of range")
