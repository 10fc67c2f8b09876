"""Training in processes of their own, forked from a server that has imported PyTorch once: to be killed, or to train together."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def start(target: str, log: Path, *arguments, **environment: str) -> multiprocessing.Process:
    """Runs `children.TARGET(*arguments)` with its output in `log`."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent)])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fitting.run"])
    process = context.Process(target=_run, args=(target, str(log), arguments, environment))
    process.start()
    return process


def finish(process: multiprocessing.Process, log: Path) -> str:
    process.join(300)
    text = log.read_text()
    assert process.exitcode == 0, text
    return text


def _run(target: str, log: str, arguments: tuple, environment: dict) -> None:
    import torch

    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1), os.dup2(file, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    torch.set_num_threads(1)
    globals()[target](*arguments)


def fit(values: dict, data: str, work: Path) -> None:
    from fitting import parallel, run, settings

    group = parallel.start("cpu")
    run.fit(settings.parse(values), [data], [], work, group)
    group.close()


def in_step(values: dict, data: str, work: Path) -> None:
    """What two processes must have in common: shares of one batch, averaged gradients, weights, statistics and average after steps."""
    import hashlib

    import torch
    import torch.distributed as dist

    from fitting import parallel, run, settings, stage1
    from fitting.journal import Journal
    from fitting.slices import SliceSampler, SliceTable

    group, plain = parallel.start("cpu"), settings.parse(values)
    journal = Journal(work / "probe", group)
    fitted, _ = run.cases(plain, [data], [], work / "probe", group, journal)

    def sampler(rank: int, world: int) -> SliceSampler:
        return SliceSampler(SliceTable(fitted), plain.config()["input"], plain, rank, world)

    shares = group.gather(sampler(group.rank, 2).chosen(5).tolist())
    assert [x for pair in zip(*shares) for x in pair] == sampler(0, 1).chosen(5).tolist()

    first = stage1.Stage1(run.starting_model(plain, None), plain, group, journal)
    first.net.eval()
    batch = sampler(group.rank, 2).make(0)
    sum(first.terms(first.net, batch).values()).backward()
    own = [p.grad.clone() for p in first.net.parameters()]
    for gradient in own:
        dist.all_reduce(gradient)
    first.net.zero_grad()
    wrapped = group.wrap(first.net)
    sum(first.terms(wrapped, batch).values()).backward()
    for p, gradient in zip(first.net.parameters(), own):
        torch.testing.assert_close(p.grad, gradient / 2, rtol=1e-4, atol=1e-6)

    first.net.train()
    for step in range(3):
        first.update(wrapped, sampler(group.rank, 2).make(step), 1e-2)
        first.step += 1
    for state in (first.net.state_dict(), first.average.state):
        assert len(set(group.gather(hashlib.sha256(b"".join(v.numpy().tobytes() for v in state.values())).hexdigest()))) == 1

    run.fit(plain, [data], [], work / "run", group)
    group.close()
