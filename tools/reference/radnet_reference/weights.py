"""The model file: safetensors with the configuration in its metadata. Also torchvision's DenseNet checkpoints of any vintage."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from . import config as cfg
from .model import RadNet

STORAGE = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def tensors(model: RadNet) -> dict[str, Tensor]:
    """The tensors that a file carries: the state dict without batch counters."""
    return {name: t.detach() for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}


def save(model: RadNet, path: Path | str, name: str, version: str, intended_use: str, storage: str = "F32") -> None:
    """Writes a model file. Values outside the storage type's range are an error; the file is replaced atomically."""
    dtype = STORAGE[storage]
    stored = {}
    for key, tensor in tensors(model).items():
        stored[key] = tensor.to(dtype).contiguous()
        if not torch.isfinite(stored[key]).all():
            raise ValueError(f"{key} is not finite in {storage}")
    metadata = {
        "radnet.format": "1",
        "radnet.config": json.dumps(model.config, separators=(",", ":")),
        "radnet.name": name,
        "radnet.version": version,
        "radnet.intended_use": intended_use,
    }
    partial = Path(f"{path}.partial")
    save_file(stored, partial, metadata=metadata)
    partial.replace(path)


def load(path: Path | str) -> tuple[RadNet, dict[str, str]]:
    """Reads a model file: the module in evaluation mode, float32, and the metadata."""
    with safe_open(str(path), framework="pt") as f:
        metadata = f.metadata() or {}
        state = {key: f.get_tensor(key) for key in f.keys()}
    if metadata.get("radnet.format") not in ("1", "2"):
        raise ValueError(f"{path}: radnet.format is {metadata.get('radnet.format')}, not 1 or 2")
    if metadata["radnet.format"] == "2":
        state = {key: t for key, t in state.items() if not key.startswith("quant.")}
    model = RadNet(cfg.parse(metadata["radnet.config"]))
    assign(model, state)
    return model.eval(), metadata


def assign(model: RadNet, state: dict[str, Tensor]) -> None:
    """Loads tensors into the module; missing, extra, misshapen and non-finite ones are errors."""
    expected = tensors(model)
    unknown, missing = sorted(set(state) - set(expected)), sorted(set(expected) - set(state))
    if unknown or missing:
        raise ValueError(f"unknown tensors {unknown[:3]}, missing tensors {missing[:3]}")
    for key, tensor in state.items():
        if tensor.dtype not in STORAGE.values():
            raise ValueError(f"{key} has dtype {tensor.dtype}")
        if tensor.shape != expected[key].shape:
            raise ValueError(f"{key} has shape {list(tensor.shape)}, the config says {list(expected[key].shape)}")
        if not torch.isfinite(tensor).all() or (key.endswith("running_var") and (tensor < 0).any()):
            raise ValueError(f"{key} holds NaN, infinity or a negative variance")
        expected[key].copy_(tensor)


def sha256(path: Path | str) -> str:
    """Of the whole file, in hex."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# Checkpoints from before torchvision 0.3 name a dense layer's parts `norm.1`, `conv.2`; later ones `norm1`, `conv2`.
_BARE_NAME = re.compile(r"(conv0|norm0|norm5|denseblock\d+|transition\d+)\.")
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def modern_names(state: dict) -> dict[str, Tensor]:
    """A torchvision DenseNet state dict of any vintage under today's names, unwrapped, without batch counters."""
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if wrapper in state and not isinstance(state[wrapper], Tensor):
            state = state[wrapper]
    renamed = {}
    for key, tensor in state.items():
        key = _OLD_NAME.sub(r"\1\2.", key.removeprefix("module."))
        if key.endswith("num_batches_tracked"):
            continue
        if _BARE_NAME.match(key):
            key = f"features.{key}"
        renamed[key] = tensor
    return renamed


def backbone_shape(state: dict[str, Tensor]) -> dict:
    """The `backbone` object that describes a state dict with today's names."""
    layer = re.compile(r"features\.denseblock(\d+)\.denselayer(\d+)\.conv1\.weight$")
    counts: dict[int, int] = {}
    for match in filter(None, map(layer.match, state)):
        block, index = map(int, match.groups())
        counts[block] = max(counts.get(block, 0), index)
    if not counts or "features.conv0.weight" not in state:
        raise ValueError("not a torchvision DenseNet: no features.conv0.weight or no dense layers")
    growth = state["features.denseblock1.denselayer1.conv2.weight"].shape[0]
    return {
        "kind": "densenet",
        "init_features": state["features.conv0.weight"].shape[0],
        "growth_rate": growth,
        "block_config": [counts[b] for b in sorted(counts)],
        "bn_size": state["features.denseblock1.denselayer1.conv1.weight"].shape[0] // growth,
        "bn_eps": 1e-5,
    }


def adapt_stem(weight: Tensor, channels: int) -> Tensor:
    """conv0's weight for another number of input channels: the mean over the old ones, scaled so that equal channels give equal output."""
    if weight.shape[1] == channels:
        return weight
    return weight.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1) * (weight.shape[1] / channels)


def from_torchvision(state: dict, config: dict, seed: int = 0) -> tuple[RadNet, list[str]]:
    """A RADnet over a torchvision backbone: the module, and the names of tensors that the checkpoint did not give.

    The config's `backbone` must describe the checkpoint. Tensors it lacks (segmentation, attention, rnn) keep PyTorch's initialisation
    under `seed`. The classifier is taken where its shape fits, which needs attention and rnn `none` to mean the same function.
    """
    state = modern_names(state)
    found = backbone_shape(state)
    wanted = {key: value for key, value in config["backbone"].items() if key != "bn_eps"}
    if wanted != {key: value for key, value in found.items() if key != "bn_eps"}:
        raise ValueError(f"the checkpoint is {found}, the config says {config['backbone']}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = RadNet(config)
    state["features.conv0.weight"] = adapt_stem(state["features.conv0.weight"], len(config["input"]["channels"]))
    own = tensors(model)
    pooled_alone = config["attention"]["kind"] == "none" and config["rnn"]["kind"] == "none"
    fits = pooled_alone and "classifier.weight" in state and state["classifier.weight"].shape == own["classifier.weight"].shape
    taken = {key: t for key, t in state.items() if not key.startswith("classifier.") or fits}
    unknown = sorted(set(taken) - set(own))
    if unknown:
        raise ValueError(f"the checkpoint holds {unknown[0]}, which is no tensor of a torchvision DenseNet or of this model")
    fresh = sorted(set(own) - set(taken))
    assign(model, {**own, **{key: t.to(torch.float32) for key, t in taken.items()}})
    return model.eval(), fresh
