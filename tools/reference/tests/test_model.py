"""The network is torchvision's DenseNet where the two overlap, and the heads do what the specification writes."""

import copy

import pytest
import torch
import torchvision

from radnet_reference import config as cfg
from radnet_reference.model import RadNet
from radnet_reference.random_model import randomise


def small(**changes) -> dict:
    config = cfg.standard()
    config["input"]["size"] = [40, 37]
    config["backbone"].update(init_features=8, growth_rate=4, bn_size=2, block_config=[2, 3])
    config["segmentation"] = [1, 2]
    config["rnn"] = {"kind": "lstm", "hidden": 5, "layers": 2, "bidirectional": True}
    return {**config, **changes}


@torch.no_grad()
def test_features_equal_torchvision_densenet121():
    torch.manual_seed(0)
    theirs = torchvision.models.densenet121(weights=None).eval()
    ours = RadNet(cfg.standard()).eval()
    for name, tensor in theirs.state_dict().items():
        if name.startswith("features."):
            ours.state_dict()[name].copy_(tensor)
    x = torch.randn(2, 3, 65, 70)
    assert torch.equal(ours.backbone(x)[0], torch.relu(theirs.features(x)))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_attention_equals_its_formula(kind):
    config = small(attention={"kind": kind, "heads": 3})
    x = torch.randn(2, 3, 40, 37)
    model = randomise(RadNet(config), x, 3).double()
    f, _ = model.backbone(x.double())
    v, a = model.pool(f)
    for s in range(2):
        for k in range(3):
            weight = a[s, k] / (a[s, k].sum() + 1e-6) if kind == "sigmoid" else a[s, k]
            expected = (weight * f[s]).sum(dim=(1, 2))
            torch.testing.assert_close(v[s, k * f.shape[1] : (k + 1) * f.shape[1]], expected, rtol=1e-12, atol=1e-12)
    if kind == "softmax":
        torch.testing.assert_close(a.sum(dim=(2, 3)), torch.ones(2, 3, dtype=torch.float64))


@torch.no_grad()
def test_slice_vectors_do_not_depend_on_the_rest_of_the_scan():
    model = randomise(RadNet(small()), torch.randn(4, 3, 40, 37), 1).double()
    x = torch.randn(4, 3, 40, 37, dtype=torch.float64)
    whole = model.pool(model.backbone(x)[0])[0]
    alone = model.pool(model.backbone(x[2:3])[0])[0]
    torch.testing.assert_close(whole[2:3], alone, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_every_stage_is_recorded():
    config = small()
    stages = {}
    RadNet(config).eval()(torch.randn(3, 3, 40, 37), stages)
    assert set(stages) == {"stem", "block1", "block2", "transition1", "segmentation1", "segmentation2", "features", "attention", "pooled", "rnn", "logits"}
    assert stages["segmentation2"].shape == (3, 1, 40, 37)
    assert stages["logits"].shape == (3, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"segmentation": [3]},
        {"thresholds": {"other": 0.5}},
        {"attention": {"kind": "sigmoid"}},
        {"scan": {"rule": "consecutive", "k": 2}},
        {"surprise": 1},
    ],
)
def test_contradictory_configs_are_refused(change):
    with pytest.raises(cfg.ConfigError):
        cfg.validate({**small(), **change})


def test_a_size_that_leaves_an_empty_map_is_refused():
    config = small()
    config["backbone"] = {**config["backbone"], "block_config": [1, 1, 1, 1, 1, 1]}
    with pytest.raises(cfg.ConfigError, match="empty map in block 5"):
        cfg.validate(copy.deepcopy(config))
