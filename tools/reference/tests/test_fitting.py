"""The trainer on tiny data: batches, losses and rules mean what they say; a killed run ends as an unbroken one; two processes train as one."""

import copy
import dataclasses
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import children
import made
from fitting import augment, cases, judge, losses, run, schedule, settings
from fitting.average import Average
from fitting.parallel import Group
from fitting.slices import SliceSampler, SliceTable, ahead
from radnet_reference import scan as rules
from radnet_reference import weights

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
MODEL = {
    "input": {"size": [32, 32]},
    "backbone": {"init_features": 4, "growth_rate": 4, "bn_size": 2, "block_config": [1, 2]},
    "segmentation": [1, 2],
    "rnn": {"kind": "lstm", "hidden": 4, "layers": 1, "bidirectional": True},
    "classes": ["any", "subdural"],
}
VALUES = {
    "model": MODEL,
    "workers": 1,
    "log_every": 3,
    "checkpoint_every": 4,
    "validation_share": 0.3,
    "stage1": {"steps": 10, "batch": 4, "ema": 0.9, "validate_every": 5, "calibrate_slices": 32},
    "stage2": {"epochs": 3, "batch": 2},
}
NONE = settings.Augment(**{f: 0.0 for f in settings.Augment.__dataclass_fields__})


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def values(**changes) -> dict:
    made_values = copy.deepcopy(VALUES)
    for key, value in changes.items():
        made_values[key] = {**made_values[key], **value} if isinstance(value, dict) else value
    return made_values


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("phantoms")
    made.phantoms(root, range(12))
    return root


def test_a_killed_run_ends_bit_identical_to_an_unbroken_one(tmp_path, phantoms):
    data, whole, killed = f"phantom:{phantoms}", tmp_path / "whole", tmp_path / "killed"
    children.finish(children.start("fit", tmp_path / "whole.log", VALUES, data, whole), tmp_path / "whole.log")
    # Killed once inside stage 1 and once inside stage 2, where log, checkpoints and epochs do not coincide.
    for mark in ("stage1.pt", "stage2.pt"):
        process = children.start("fit", tmp_path / "killed.log", VALUES, data, killed)
        while not (killed / mark).exists():
            assert process.is_alive(), (tmp_path / "killed.log").read_text()
            time.sleep(0.002)
        process.kill()
        process.join()
    said = children.finish(children.start("fit", tmp_path / "killed.log", VALUES, data, killed), tmp_path / "killed.log")
    assert "stage 1 goes on at step" in said and "stage 2 goes on at step" in said
    for name in ("stage1.log.json", "stage2.log.json", "summary.json"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    (one, metadata), (other, _) = (weights.load(work / "model.safetensors") for work in (whole, killed))
    assert all(torch.equal(t, other.state_dict()[name]) for name, t in one.state_dict().items())
    assert one.config == other.config and one.config["classes"] == ["any", "subdural"] and metadata["radnet.intended_use"].startswith("Research")
    assert (whole / "curves.png").stat().st_size > 5000
    split = (whole / "split.csv").read_text().splitlines()
    assert split[0] == "scan,part,any,subdural" and len(split) == 13 and any(",validation," in line for line in split)


def test_the_program_refuses_a_checkpoint_of_other_settings(tmp_path, phantoms):
    plain = values(stage1={"steps": 2}, stage2={"epochs": 1})
    run.fit(settings.parse(plain), [f"phantom:{phantoms}"], [], tmp_path / "run", Group(0, 1, torch.device("cpu")))
    (tmp_path / "s.json").write_text(json.dumps({**plain, "seed": 2}))
    command = [sys.executable, str(TRAIN), "fit", "--data", f"phantom:{phantoms}", "--settings", str(tmp_path / "s.json"), "--work", str(tmp_path / "run")]
    done = subprocess.run([*command, "--threads", "1", "--device", "cpu"], capture_output=True, text=True)
    assert done.returncode == 1 and "other settings or data" in done.stderr and "Traceback" not in done.stderr


def test_end_to_end_trains_the_network(tmp_path, phantoms):
    plain = settings.parse(values(stage1={"steps": 3}, stage2={"mode": "end_to_end", "epochs": 1, "chunk": 3, "backbone_lr": 1e-3}))
    path = run.fit(plain, [f"phantom:{phantoms}"], [], tmp_path, Group(0, 1, torch.device("cpu")))
    state = weights.load(path)[0].state_dict()
    stage1 = torch.load(tmp_path / "stage1.pt", weights_only=True)["average"]
    assert not torch.equal(state["features.conv0.weight"], stage1["features.conv0.weight"])
    again = run.fit(plain, [f"phantom:{phantoms}"], [], tmp_path, Group(0, 1, torch.device("cpu")))
    assert all(torch.equal(t, state[name]) for name, t in weights.load(again)[0].state_dict().items())


def test_two_processes_stay_in_step(tmp_path, phantoms):
    """torchrun's environment with gloo: what `children.in_step` asserts, and that the first process alone writes and speaks."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    plain = values(stage1={"steps": 4}, stage2={"epochs": 2})
    logs = [tmp_path / f"{rank}.log" for rank in range(2)]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    running = [children.start("in_step", logs[r], plain, f"phantom:{phantoms}", tmp_path, RANK=str(r), LOCAL_RANK=str(r), **group) for r in range(2)]
    out = [children.finish(p, log) for p, log in zip(running, logs)]
    assert "stage 1 step" in out[0] and "stage" not in out[1]
    assert (tmp_path / "run" / "model.safetensors").exists()


def made_cases(tmp_path: Path, phantoms: Path, offsets=(0,)) -> tuple[list[cases.Case], dict]:
    plain = settings.parse(values())
    config = plain.config()
    entries, cache = cases.read([f"phantom:{phantoms}"], tmp_path / "cache", 1, config, lambda _: None)
    return cases.join(entries, cache, config["classes"]), config


def test_batches_follow_their_step_and_are_balanced(tmp_path, phantoms):
    found, config = made_cases(tmp_path, phantoms)
    table = SliceTable(found)
    assert len(table) == 72 and (table.label == 1).sum(axis=0).tolist() == [18, 18]
    sampler = SliceSampler(table, config["input"], settings.parse(values(seed=3, stage1={"batch": 8})))
    one, again = sampler.make(17), sampler.make(17)
    assert torch.equal(one.x, again.x) and not torch.equal(one.x, sampler.make(18).x)
    share = np.mean([float(sampler.make(i).label[:, 0].mean()) for i in range(40)])
    assert 0.35 < share < 0.65
    assert (one.mask.sum(dim=(1, 2)) > 0).tolist() == (one.label[:, 0] > 0).tolist()
    assert [int(b) for b in ahead(lambda i: i * i, 3, 9, 2)] == [9, 16, 25, 36, 49, 64]


def test_unaugmented_batches_are_the_models_own_preprocessing(tmp_path, phantoms):
    from fitting.vectors import volume
    from radnet_reference import preprocess

    found, config = made_cases(tmp_path, phantoms)
    part = config["input"]
    part["channels"] = [{"slice_offset": o, "window": {"level": 40.0, "width": 80.0}} for o in (-1, 0, 2)]
    part["mean"], part["std"] = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    expected = preprocess.channels(torch.from_numpy(found[3].scan.hu().astype(np.float32)), part)
    torch.testing.assert_close(volume(found[3], config), expected, rtol=0, atol=1e-6)
    table = SliceTable(found[3:4])
    batch = SliceSampler(table, part, dataclasses.replace(settings.parse(values(stage1={"batch": 6})), augment=NONE))
    torch.testing.assert_close(batch.make(0).x, expected[table.index[batch.chosen(0)]], rtol=0, atol=2e-4)


def test_moves_take_image_and_mask_along():
    hu = torch.full((16, 2, 48, 64), -1000.0)
    hu[:, :, 20:34, 26:44] = 60.0
    moved, mask = augment.move(hu, (hu[:, 0] > 0).float(), settings.Augment(mirror=0.5), torch.Generator().manual_seed(1))
    assert (moved[:, 0][mask > 0.999] > 55).all() and (moved[:, 1][mask < 0.001] < -990).all()
    # A rotation by the largest angle keeps the area up to the change of scale.
    area = mask.sum(dim=(1, 2)) / (14 * 18)
    assert (area > 0.7).all() and (area < 1.4).all()


def test_the_kernel_changes_edges_and_keeps_the_mean():
    hu = torch.zeros(30, 1, 16, 16)
    hu[:, :, :, 8:] = 100.0
    changed = augment.kernel(hu, settings.Augment(), torch.Generator().manual_seed(2))
    top = changed.amax(dim=(1, 2, 3))
    assert (top > 105).any() and (changed[:, 0, 8, 8] < 95).any() and (changed[:, 0, 8, 2] == 0).all()


@pytest.mark.parametrize("rule", [{"rule": "consecutive", "n": 3}, {"rule": "mean_top_k", "k": 2}, {"rule": "noisy_or"}])
def test_the_scan_loss_is_the_scan_rule(rule):
    z = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    expected = np.array([rules.score(rule, rules.sigmoid(z.detach().numpy())[:, k]) for k in range(2)])
    present, absent = losses.scan_logs(rule, z)
    np.testing.assert_allclose(present.exp().detach().numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(absent.exp().detach().numpy(), 1 - expected, rtol=1e-5)
    loss = losses.scan(rule, z, torch.tensor([1.0, float("nan")], dtype=torch.float64))
    loss.backward()
    assert loss.item() == pytest.approx(-np.log(expected[0])) and z.grad[:, 0].abs().sum() > 0 and z.grad[:, 1].abs().sum() == 0
    extreme = torch.full((4, 1), 60.0, requires_grad=True)
    for label in (0.0, 1.0):
        losses.scan(rule, extreme, torch.tensor([label])).backward()
    assert torch.isfinite(extreme.grad).all()


def test_masks_count_where_they_exist():
    logits, mask = torch.randn(4, 6, 6), torch.zeros(4, 24, 24)
    mask[0, 4:9, 4:9] = 1
    has = torch.tensor([1.0, 1.0, 0.0, 0.0])
    for energy in (torch.randn(4, 2, 6, 6),):
        for kind in ("sigmoid", "softmax"):
            changed = energy.clone()
            changed[2:] += 5
            assert losses.attention(energy, kind, mask, has) == losses.attention(changed, kind, mask, has)
    changed = logits.clone()
    changed[2:] += 5
    assert losses.segmentation(logits, mask, has) == losses.segmentation(changed, mask, has) != 0
    assert losses.segmentation(logits, mask, has * 0) == 0
    good = torch.where(torch.nn.functional.adaptive_avg_pool2d(mask[:, None], 6)[:, 0] > 0.3, 6.0, -6.0)
    assert losses.segmentation(good, mask, has) < 0.3 * losses.segmentation(-good, mask, has)


def test_unknown_labels_do_not_count():
    z, label = torch.tensor([[2.0, -1.0], [0.5, 3.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    known, weight = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([1.0, 7.0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(z[:, 0], label[:, 0])
    assert losses.labels(z, label, known, weight) == pytest.approx(expected.item())
    assert losses.labels(z, label, known * 0, weight) == 0


def test_areas_leave_out_what_is_unknown():
    label = np.array([[1, np.nan], [0, 1], [np.nan, 1], [1, 1]])
    z = np.array([[3.0, 0], [1, 0], [9, 0], [0.5, 0]])
    assert judge.slice_areas(["a", "b"], label, z) == {"a": 0.5}


def test_thresholds_balance():
    config = settings.parse(values()).config()
    logit = lambda p: np.full((4, 2), np.log(p / (1 - p)))  # noqa: E731
    scans = [logit(p) for p in (0.1, 0.15, 0.31, 0.35)]
    labels = [np.array([y, np.nan]) for y in (0, 0, 1, 1)]
    chosen = judge.balanced_thresholds(config, scans, labels)
    assert 0.15 < chosen["any"] <= 0.31 and chosen["subdural"] == 0.5


def test_the_average_follows_and_exchanges():
    net = torch.nn.BatchNorm1d(2)
    average = Average(net, 0.9)
    with torch.no_grad():
        net.weight.fill_(3.0)
    average.update(net, 0)
    torch.testing.assert_close(average.state["weight"], torch.full((2,), 2.8))
    average.exchange(net)
    assert net.weight[0].item() == pytest.approx(2.8) and average.state["weight"][0] == 3
    average.exchange(net)
    assert net.weight[0] == 3


def test_the_rate_warms_up_and_falls():
    rates = [schedule.rate(i, 100, 1.0, 0.1, 0.1) for i in range(100)]
    assert rates[0] == 0.1 and max(rates) == rates[9] == rates[10] == 1.0 and rates[-1] == pytest.approx(0.1, abs=1e-3)
    assert all(a >= b for a, b in zip(rates[10:], rates[11:]))


@pytest.mark.parametrize(
    "broken, complaint",
    [
        ({"sed": 1}, "unknown key sed"),
        ({"stage1": {"step": 1}}, "unknown key stage1.step"),
        ({"stage1": {"lr": "fast"}}, "stage1.lr is 'fast', not float"),
        ({"stage2": {"mode": "both"}}, "stage2.mode is out of range"),
        ({"model": {"attention": {"kind": "other"}}}, "model: unknown attention.kind"),
        ({"stage1": 3}, "stage1. is not an object"),
    ],
)
def test_settings_name_what_is_wrong(broken, complaint):
    with pytest.raises(settings.SettingsError, match=complaint):
        settings.parse(broken)


def test_settings_of_both_formats_agree(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(VALUES))
    (tmp_path / "a.toml").write_text(
        'workers = 1\nlog_every = 3\ncheckpoint_every = 4\nvalidation_share = 0.3\n'
        '[model]\nsegmentation = [1, 2]\nclasses = ["any", "subdural"]\n[model.input]\nsize = [32, 32]\n'
        '[model.backbone]\ninit_features = 4\ngrowth_rate = 4\nbn_size = 2\nblock_config = [1, 2]\n'
        '[model.rnn]\nkind = "lstm"\nhidden = 4\nlayers = 1\nbidirectional = true\n'
        '[stage1]\nsteps = 10\nbatch = 4\nema = 0.9\nvalidate_every = 5\ncalibrate_slices = 32\n[stage2]\nepochs = 3\nbatch = 2\n'
    )
    assert settings.read(tmp_path / "a.json") == settings.read(tmp_path / "a.toml")
    assert settings.read(None).config()["backbone"]["block_config"] == [6, 12, 24, 16]


def test_several_sets_with_and_without_masks_and_slice_labels(tmp_path):
    """CT-ICH has masks, RSNA slice labels, CQ500 scan labels: one run over all of them, six classes."""
    made.rsna(tmp_path / "rsna")
    made.cq500(tmp_path / "cq500")
    made.ctich(tmp_path / "ctich")
    six = ["any", "epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"]
    plain = settings.parse(values(model={"classes": six}, stage1={"steps": 3}, stage2={"epochs": 1}, validation_share=0.2))
    data = [f"{k}:{tmp_path / k}" for k in ("rsna", "cq500", "ctich")]
    path = run.fit(plain, data, [], tmp_path / "work", Group(0, 1, torch.device("cpu")))
    assert weights.load(path)[0].config["classes"] == six
    (row,) = json.loads((tmp_path / "work" / "stage2.log.json").read_text())
    assert row["scans"] >= 3 and np.isfinite(row["train"])


def test_reduced_precision_on_the_cpu_is_asked_for_by_name():
    from fitting.precision import Precision

    cpu = torch.device("cpu")
    assert Precision("auto", cpu).kind == "fp32"
    with Precision("bf16", cpu).autocast():
        assert torch.nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16
    with pytest.raises(settings.SettingsError, match="needs a GPU"):
        Precision("fp16", cpu)
    with pytest.raises(settings.SettingsError, match="does not divide"):
        SliceSampler(None, None, settings.parse(values(stage1={"batch": 5})), 0, 2)
    assert Group(0, 1, cpu).gather(3) == [3]
