"""`radnet.config`: the JSON inside a model file, validated."""

from __future__ import annotations

import copy
import json

DEFAULT = {
    "input": {
        "size": [256, 256],
        "spacing_mm": None,
        "outside_hu": -1000.0,
        "channels": [
            {"slice_offset": 0, "window": {"level": 40.0, "width": 80.0}},
            {"slice_offset": 0, "window": {"level": 80.0, "width": 200.0}},
            {"slice_offset": 0, "window": {"level": 600.0, "width": 2800.0}},
        ],
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    },
    "backbone": {"kind": "densenet", "init_features": 64, "growth_rate": 32, "block_config": [6, 12, 24, 16], "bn_size": 4, "bn_eps": 1e-5},
    "segmentation": [1, 2, 3],
    "attention": {"kind": "sigmoid", "heads": 1},
    "rnn": {"kind": "lstm", "hidden": 256, "layers": 1, "bidirectional": True},
    "classes": ["any"],
    "scan": {"rule": "consecutive", "n": 3},
    "thresholds": {"any": 0.5},
}

# (init_features, growth_rate, block_config) of torchvision's named networks.
DENSENETS = {
    "densenet121": (64, 32, [6, 12, 24, 16]),
    "densenet161": (96, 48, [6, 12, 36, 24]),
    "densenet169": (64, 32, [6, 12, 32, 32]),
    "densenet201": (64, 32, [6, 12, 48, 32]),
}

_SHAPE = {
    "input": {"size", "spacing_mm", "outside_hu", "channels", "mean", "std"},
    "backbone": {"kind", "init_features", "growth_rate", "block_config", "bn_size", "bn_eps"},
}
_TOP = {"input", "backbone", "segmentation", "attention", "rnn", "classes", "scan", "thresholds"}
_RULE_KEY = {"consecutive": "n", "mean_top_k": "k", "noisy_or": None}


class ConfigError(ValueError):
    """A configuration that contradicts the specification."""


def standard(arch: str = "densenet121") -> dict:
    """The specification's default configuration over one of torchvision's networks."""
    config = copy.deepcopy(DEFAULT)
    init, growth, blocks = DENSENETS[arch]
    config["backbone"].update(init_features=init, growth_rate=growth, block_config=list(blocks))
    return config


def parse(text: str) -> dict:
    """Reads and validates the JSON text."""
    return validate(json.loads(text))


def validate(config: dict) -> dict:
    """Returns `config` unchanged, or raises ConfigError naming what is wrong."""
    _keys("config", config, _TOP)
    for part, keys in _SHAPE.items():
        _keys(part, config[part], keys)
    _validate_input(config["input"])
    _validate_backbone(config["backbone"])
    _validate_heads(config)
    _validate_decision(config)
    extents(config)
    return config


def extents(config: dict) -> list[tuple[int, int]]:
    """[height, width] of each block's map."""
    def stem(n: int) -> int:
        conv = (n + 6 - 7) // 2 + 1
        return (conv + 2 - 3) // 2 + 1

    h, w = (stem(n) for n in config["input"]["size"])
    maps = []
    for block in range(len(config["backbone"]["block_config"])):
        if block > 0:
            h, w = h // 2, w // 2
        _require(h > 0 and w > 0, f"input.size leaves an empty map in block {block + 1}")
        maps.append((h, w))
    return maps


def block_channels(config: dict) -> list[int]:
    """Channels at the end of each block; the last is the width of F."""
    backbone = config["backbone"]
    channels, out = backbone["init_features"], []
    for layers in backbone["block_config"]:
        channels += layers * backbone["growth_rate"]
        out.append(channels)
        channels //= 2
    return out


def slice_vector(config: dict) -> int:
    """Length of the slice vector v."""
    heads = 1 if config["attention"]["kind"] == "none" else config["attention"]["heads"]
    return heads * block_channels(config)[-1]


def classifier_input(config: dict) -> int:
    """D, the width of y."""
    rnn = config["rnn"]
    if rnn["kind"] == "none":
        return slice_vector(config)
    return rnn["hidden"] * (2 if rnn["bidirectional"] else 1)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _keys(name: str, value: dict, keys: set[str]) -> None:
    _require(isinstance(value, dict), f"{name} is not an object")
    unknown, missing = sorted(set(value) - keys), sorted(keys - set(value))
    _require(not unknown, f"{name}: unknown key {', '.join(unknown)}")
    _require(not missing, f"{name}: missing key {', '.join(missing)}")


def _count(name: str, value, low: int = 1) -> None:
    _require(isinstance(value, int) and not isinstance(value, bool) and value >= low, f"{name} must be an integer of at least {low}")


def _validate_input(part: dict) -> None:
    _require(len(part["size"]) == 2, "input.size is not [height, width]")
    for n in part["size"]:
        _count("input.size", n, 32)
    _require(part["spacing_mm"] is None or part["spacing_mm"] > 0, "input.spacing_mm must be positive or null")
    channels = part["channels"]
    _require(1 <= len(channels) <= 16, "input.channels must have 1 to 16 entries")
    for channel in channels:
        _keys("channel", channel, {"slice_offset", "window"})
        _keys("window", channel["window"], {"level", "width"})
        _require(channel["window"]["width"] > 0, "window.width must be positive")
    _require(len(part["mean"]) == len(channels) == len(part["std"]), "input.mean and input.std must match input.channels")
    _require(all(s > 0 for s in part["std"]), "input.std must be positive")


def _validate_backbone(part: dict) -> None:
    _require(part["kind"] == "densenet", f"unknown backbone.kind {part['kind']}")
    for key in ("init_features", "growth_rate", "bn_size"):
        _count(f"backbone.{key}", part[key])
    _require(1 <= len(part["block_config"]) <= 6, "backbone.block_config must have 1 to 6 blocks")
    for layers in part["block_config"]:
        _count("backbone.block_config", layers)
    _require(part["bn_eps"] > 0, "backbone.bn_eps must be positive")


def _validate_heads(config: dict) -> None:
    blocks = len(config["backbone"]["block_config"])
    heads = config["segmentation"]
    _require(len(set(heads)) == len(heads) and all(1 <= b <= blocks for b in heads), "segmentation names a block that does not exist, or one twice")
    attention, rnn = config["attention"], config["rnn"]
    _require(attention.get("kind") in ("none", "sigmoid", "softmax"), "unknown attention.kind")
    if attention["kind"] != "none":
        _keys("attention", attention, {"kind", "heads"})
        _count("attention.heads", attention["heads"])
    _require(rnn.get("kind") in ("none", "lstm", "gru"), "unknown rnn.kind")
    if rnn["kind"] != "none":
        _keys("rnn", rnn, {"kind", "hidden", "layers", "bidirectional"})
        _count("rnn.hidden", rnn["hidden"])
        _count("rnn.layers", rnn["layers"])


def _validate_decision(config: dict) -> None:
    classes, scan = config["classes"], config["scan"]
    _require(len(classes) >= 1 and len(set(classes)) == len(classes), "classes must be distinct and at least one")
    _require(set(config["thresholds"]) == set(classes), "thresholds must name exactly the classes")
    _require(all(0 <= t <= 1 for t in config["thresholds"].values()), "thresholds must lie in [0, 1]")
    _require(scan.get("rule") in _RULE_KEY, "unknown scan.rule")
    key = _RULE_KEY[scan["rule"]]
    _keys("scan", scan, {"rule"} | ({key} if key else set()))
    if key:
        _count(f"scan.{key}", scan[key])
