"""Files hold what was put in, and torchvision checkpoints of every vintage mean the network they came from."""

import json

import pytest
import torch
import torchvision
from safetensors import safe_open

from radnet_reference import config as cfg
from radnet_reference import weights
from radnet_reference.model import RadNet
from test_model import small


@pytest.mark.parametrize("storage", ["F32", "F16", "BF16"])
def test_round_trip(tmp_path, storage):
    torch.manual_seed(1)
    model = RadNet(small()).eval()
    path = tmp_path / "m.safetensors"
    weights.save(model, path, "n", "v", "u", storage)
    loaded, metadata = weights.load(path)
    assert (metadata["radnet.name"], metadata["radnet.version"], metadata["radnet.intended_use"]) == ("n", "v", "u")
    assert json.loads(metadata["radnet.config"]) == model.config
    for name, tensor in weights.tensors(model).items():
        assert torch.equal(loaded.state_dict()[name], tensor.to(weights.STORAGE[storage]).float())
    with safe_open(str(path), framework="pt") as f:
        assert not [k for k in f.keys() if k.endswith("num_batches_tracked")]


def test_values_outside_the_storage_type_are_refused(tmp_path):
    model = RadNet(small())
    model.classifier.weight.data[0, 0] = 1e6
    with pytest.raises(ValueError, match="classifier.weight"):
        weights.save(model, tmp_path / "m.safetensors", "n", "v", "u", "F16")


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "nan", "variance"])
def test_bad_tensors_are_refused(damage):
    model = RadNet(small())
    state = {k: t.clone() for k, t in weights.tensors(model).items()}
    if damage == "missing":
        del state["rnn.weight_hh_l1_reverse"]
    elif damage == "extra":
        state["other"] = torch.zeros(1)
    elif damage == "shape":
        state["classifier.bias"] = torch.zeros(2)
    elif damage == "nan":
        state["classifier.bias"][0] = float("nan")
    else:
        state["features.norm0.running_var"][3] = -1e-9
    with pytest.raises(ValueError):
        weights.assign(model, state)


def old_names(state: dict) -> dict:
    """As torchvision wrote them before version 0.3: `norm.1`, and no batch counters."""
    old = {}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        for part in ("norm", "conv"):
            for i in "12":
                if "denselayer" in name:
                    name = name.replace(f".{part}{i}.", f".{part}.{i}.")
        old[name] = tensor
    return old


def disguises(state: dict) -> dict[str, dict]:
    return {
        "today": state,
        "old": old_names(state),
        "parallel": {f"module.{k}": t for k, t in state.items()},
        "wrapped": {"epoch": 3, "state_dict": old_names(state)},
        "features only": {k.removeprefix("features."): t for k, t in state.items() if k.startswith("features.")},
    }


@torch.no_grad()
@pytest.mark.parametrize(
    "arch, disguise",
    [("densenet121", d) for d in ("today", "old", "parallel", "wrapped", "features only")] + [("densenet169", "old"), ("densenet201", "old")],
)
def test_torchvision_checkpoints_of_any_vintage(arch, disguise):
    torch.manual_seed(2)
    theirs = getattr(torchvision.models, arch)(weights=None, num_classes=1).eval()
    config = cfg.standard(arch)
    config.update(attention={"kind": "none"}, rnn={"kind": "none"}, segmentation=[])
    config["input"]["size"] = [64, 64]
    x = torch.randn(1, 3, 64, 64)
    model, fresh = weights.from_torchvision(disguises(theirs.state_dict())[disguise], config)
    if disguise == "features only":
        assert fresh == ["classifier.bias", "classifier.weight"]
        torch.testing.assert_close(model.backbone(x)[0], torch.relu(theirs.features(x)))
    else:
        assert fresh == []
        torch.testing.assert_close(model(x), theirs(x))


@torch.no_grad()
def test_other_channel_counts_keep_the_response_to_equal_channels():
    torch.manual_seed(3)
    theirs = torchvision.models.densenet121(weights=None).eval()
    plane = torch.randn(1, 1, 64, 64)
    expected = torch.relu(theirs.features(plane.repeat(1, 3, 1, 1)))
    for channels in (1, 7):
        config = cfg.standard()
        config["input"].update(size=[64, 64], channels=config["input"]["channels"][:1] * channels, mean=[0.0] * channels, std=[1.0] * channels)
        model, fresh = weights.from_torchvision(theirs.state_dict(), config)
        assert "attention.weight" in fresh and not [n for n in fresh if n.startswith("features.")]
        torch.testing.assert_close(model.backbone(plane.repeat(1, channels, 1, 1))[0], expected, rtol=1e-4, atol=1e-4)
