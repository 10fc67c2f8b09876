"""Others' checkpoints become model files with every tensor accounted for; probes show what a stage computes."""

import json
import os
from pathlib import Path

import pytest
import torch
import torchvision

import convert
from converting import checking, mapping
from converting.probes import expected, probes
from radnet_reference import config as cfg
from radnet_reference import engine, weights
from radnet_reference.model import RadNet
from radnet_reference.random_model import randomise
from test_model import small

RADNET = Path(os.environ.get("RADNET_PROGRAM", engine.BUILT))


def foreign(model: RadNet) -> dict:
    """Our tensors as another library might keep them: counted from 0, kernels [h, w, in, out], both biases of a recurrence in one tensor."""
    state = {}
    for name, t in weights.tensors(model).items():
        if name.startswith("features.denseblock"):
            block, layer, rest = name.removeprefix("features.denseblock").split(".", 2)
            name = f"enc.{int(block) - 1}.{int(layer.removeprefix('denselayer')) - 1}.{rest}"
            t = t.permute(2, 3, 1, 0) if t.ndim == 4 else t
        elif name.startswith("rnn.weight"):
            t = torch.cat([t.chunk(4)[i] for i in (0, 3, 1, 2)]).T
        elif name == "rnn.bias_ih_l0":
            t = torch.stack([t, model.state_dict()["rnn.bias_hh_l0"]])
        elif name == "rnn.bias_hh_l0":
            continue
        elif name.startswith("attention.bias"):
            continue
        state[name] = t.clone()
    return {"epoch": 3, "net": {**state, "enc.0.0.norm1.num_batches_tracked": torch.tensor(4), "step": torch.tensor(9)}}


def config() -> dict:
    return small(rnn={"kind": "lstm", "hidden": 5, "layers": 1, "bidirectional": False})


def rules() -> dict:
    layer = {"match": r"enc\.(\d)\.(\d)\.(conv\d\.weight)", "name": "features.denseblock{1+1}.denselayer{2+1}.{3}", "transpose": [3, 2, 0, 1]}
    return {
        "format": "radnet-map/1",
        "root": ["net"],
        "rules": [
            layer,
            {"match": r"enc\.(\d)\.(\d)\.(norm.*)", "name": "features.denseblock{1+1}.denselayer{2+1}.{3}"},
            {"match": r"(features|segmentation|classifier)\..*|attention\.weight", "name": "{0}"},
            {"match": r"rnn\.weight_.*", "name": "{0}", "transpose": [1, 0], "chunks": {"dim": 0, "order": [0, 2, 3, 1]}},
            {"match": r"rnn\.bias_ih_l0", "name": "rnn.bias_ih_l0", "select": {"dim": 0, "index": 0}},
            {"match": r"rnn\.bias_ih_l0", "name": "rnn.bias_hh_l0", "select": {"dim": 0, "index": 1}},
        ],
        "ignore": ["step"],
        "constants": [{"match": "attention.bias", "value": 0.0}],
    }


def test_a_map_gives_back_every_tensor():
    torch.manual_seed(1)
    model = RadNet(config())
    model.attention.bias.data.zero_()
    found = RadNet(config())
    table = dict(mapping.apply(mapping.parse(rules()), foreign(model), found))
    assert all(torch.equal(t, found.state_dict()[name]) for name, t in weights.tensors(model).items())
    assert table["attention.bias"] == "constant 0" and table["rnn.bias_hh_l0"] == "rnn.bias_ih_l0" and set(table) == set(weights.tensors(model))


def broken(change) -> tuple[dict, dict]:
    torch.manual_seed(1)
    checkpoint, spec = foreign(RadNet(config())), rules()
    change(checkpoint["net"], spec)
    return checkpoint, spec


@pytest.mark.parametrize(
    "change, complaint",
    [
        (lambda net, spec: net.update(extra=torch.zeros(1)), "no rule takes extra"),
        (lambda net, spec: spec["constants"].clear(), "no tensor gives attention.bias"),
        (lambda net, spec: spec["rules"][0].pop("transpose"), r"enc.0.0.conv1.weight becomes features.denseblock1.denselayer1.conv1.weight of shape \[1, 1, 8, 8\]"),
        (lambda net, spec: spec["rules"][1].update(name="features.norm0.{3}"), "which the config does not have"),
        (lambda net, spec: spec["rules"].append({"match": "classifier.bias", "name": "classifier.bias"}), "classifier.bias and classifier.bias both become"),
        (lambda net, spec: spec["rules"][3].update(chunks={"dim": 0, "order": [0, 0, 1, 2]}), "rnn.weight_ih_l0, shape .*do not make chunks"),
        (lambda net, spec: spec["rules"][0].update(name="{4}"), "rule 1 names group 4"),
        (lambda net, spec: spec["rules"][0].update(tranpose=[0]), "rule 1 has an unknown key tranpose"),
        (lambda net, spec: spec.update(root=["model"]), "the checkpoint has no 'model'"),
        (lambda net, spec: spec.update(format="2"), "format is '2'"),
        (lambda net, spec: spec.update(ignore=["("]), "is no regular expression"),
        (lambda net, spec: net.update({"enc.0.0.norm1.bias": "text"}), "enc.0.0.norm1.bias is str, not a tensor"),
        (lambda net, spec: net.update({"enc.0.0.norm1.running_var": torch.full((8,), -1.0)}), "negative variance"),
    ],
)
def test_maps_that_do_not_give_a_whole_model_name_the_tensor(change, complaint):
    checkpoint, spec = broken(change)
    with pytest.raises(ValueError, match=complaint):
        mapping.apply(mapping.parse(spec), checkpoint, RadNet(config()))


def program(monkeypatch, capsys, *arguments) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["convert.py", *map(str, arguments), "--name", "n", "--version", "1", "--intended-use", "test"])
    code = convert.main()
    out = capsys.readouterr()
    return code, out.out + out.err


def test_the_program_maps_and_names_broken_files(tmp_path, monkeypatch, capsys):
    torch.manual_seed(1)
    torch.save(foreign(RadNet(config())), tmp_path / "c.pth")
    (tmp_path / "map.json").write_text(json.dumps(rules()))
    (tmp_path / "config.json").write_text(json.dumps(config()))
    arguments = tmp_path / "c.pth", tmp_path / "m.safetensors", "--map", tmp_path / "map.json"
    code, said = program(monkeypatch, capsys, *arguments, "--config", tmp_path / "config.json")
    assert code == 0 and "features.denseblock2.denselayer3.conv2.weight <- enc.1.2.conv2.weight" in said
    assert program(monkeypatch, capsys, *arguments)[0] == 1
    (tmp_path / "map.json").write_text(json.dumps(rules())[:-1] + "\n,")
    code, said = program(monkeypatch, capsys, *arguments, "--config", tmp_path / "config.json")
    assert code == 1 and "map.json:2:" in said


@pytest.mark.parametrize("arch", ["densenet121", "densenet169", "densenet201"])
def test_the_program_takes_torchvision_checkpoints(tmp_path, monkeypatch, capsys, arch):
    torch.manual_seed(2)
    theirs = getattr(torchvision.models, arch)(weights=None)
    torch.save(theirs.state_dict(), tmp_path / "c.pth")
    code, said = program(monkeypatch, capsys, tmp_path / "c.pth", tmp_path / "m.safetensors")
    assert code == 0 and "attention, classifier, rnn, segmentation" in said
    model, _ = weights.load(tmp_path / "m.safetensors")
    assert torch.equal(model.features["conv0"].weight, theirs.features.conv0.weight) and model.config["backbone"] == cfg.standard(arch)["backbone"]


def test_our_checkpoints_pass_through(tmp_path, monkeypatch, capsys):
    torch.manual_seed(3)
    model = RadNet(config())
    torch.save({"state_dict": model.state_dict()}, tmp_path / "c.pth")
    (tmp_path / "config.json").write_text(json.dumps(config()))
    code, said = program(monkeypatch, capsys, tmp_path / "c.pth", tmp_path / "m.safetensors", "--config", tmp_path / "config.json")
    assert code == 0 and "not in the checkpoint" not in said
    loaded, _ = weights.load(tmp_path / "m.safetensors")
    assert all(torch.equal(t, loaded.state_dict()[n]) for n, t in weights.tensors(model).items())


@torch.no_grad()
def test_probes_give_the_stages():
    x = torch.randn(3, 3, 40, 37)
    model = randomise(RadNet(small()), x, 4).double()
    stages: dict = {}
    z = model(x.double(), stages)
    model.float()
    found = {p.stage: p.model.double()(x.double()) for p in probes(model)}
    for b in (1, 2):
        torch.testing.assert_close(found[f"block{b} +"] - found[f"block{b} -"], stages[f"block{b}"].mean(dim=(2, 3)), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found["features"], stages["features"].mean(dim=(2, 3)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found["pooled"], stages["pooled"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found["recurrence"], stages["rnn"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found["logits"], z, rtol=1e-9, atol=1e-9)
    for stage, values in found.items():
        torch.testing.assert_close(expected(stage, stages), values, rtol=1e-6, atol=1e-9)


@pytest.mark.skipif(not RADNET.exists(), reason=f"no engine at {RADNET}; build it, or set RADNET_PROGRAM")
@pytest.mark.parametrize("case", ["small", "spacing"])
def test_the_engine_agrees_stage_by_stage(tmp_path, case):
    plain = small()
    if case == "spacing":
        plain["input"]["spacing_mm"] = 2.0
        plain["attention"] = {"kind": "softmax", "heads": 2}
        plain["rnn"] = {"kind": "gru", "hidden": 6, "layers": 1, "bidirectional": True}
    model = randomise(RadNet(plain), torch.rand(4, 3, 40, 37), 9)
    weights.save(model, tmp_path / "m.safetensors", "n", "1", "test")
    said: list[str] = []
    assert checking.check(tmp_path / "m.safetensors", None, RADNET, said.append), "\n".join(said)
    assert said[-1].startswith("AGREE") and any("segmentation map" in line for line in said) and len(said) == 12


@pytest.mark.skipif(not RADNET.exists(), reason=f"no engine at {RADNET}; build it, or set RADNET_PROGRAM")
def test_a_difference_is_found(tmp_path, monkeypatch):
    """Against the engine's answer for other weights, the first stage that differs is the one that was changed."""
    model = randomise(RadNet(small()), torch.rand(4, 3, 40, 37), 9)
    weights.save(model, tmp_path / "m.safetensors", "n", "1", "test")
    changed = RadNet(model.config)
    weights.assign(changed, weights.tensors(model))
    changed.features["denseblock2"].denselayer2.norm1.bias.data += 0.1
    weights.save(changed, tmp_path / "other.safetensors", "n", "1", "test")
    other = {p.stage: p.model for p in probes(changed)}
    honest = engine.predict

    def predict(radnet, series, path, *rest, **named):
        _, metadata = weights.load(path)
        if metadata["radnet.version"] in other:
            weights.save(other[metadata["radnet.version"]], path, "n", "1", "test")
        return honest(radnet, series, path, *rest, **named)

    monkeypatch.setattr(engine, "predict", predict)
    said: list[str] = []
    assert not checking.check(tmp_path / "m.safetensors", None, RADNET, said.append)
    verdicts = {line[:18].strip(): line.split()[-1] for line in said[1:-1]}
    assert verdicts["block1 +"] == "ok" and "EXCEEDED" in (verdicts["block2 +"], verdicts["block2 -"])
