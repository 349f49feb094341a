"""Runs whose environment fails or whose learning gives NaN: what is kept, and what is said."""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faulty_envs
import pytest
import torch
from torch import Tensor

from wnrl.agents.learner import Learner
from wnrl.train import command
from wnrl.train.exit_codes import ExitCode
from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.run_status import RunState, read_status

AGENTS = (["--agent=dqn", "--warmup-steps=20"], ["--agent=ppo"], ["--agent=a2c"], ["--agent=pqn"])
FAST = ["--no-calibrate", "--eval-every-steps=0", "--num-envs=2"]
CATCH = ["--env=toy/Catch", "--warmup-steps=100", "--log-every-steps=100", "--no-wall-time", *FAST]
CATCH.append("--update-period-steps=5")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with faulty_envs.registered():
        yield


def go(*arguments: object) -> int:
    return command.main([str(argument) for argument in arguments])


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The line on stderr besides the progress."""
    err = capsys.readouterr().err
    (line,) = (x for x in err.splitlines() if x and not x.startswith("step "))
    return line


def newest(run: Path) -> dict[str, Tensor]:
    saved = Checkpoints(run).latest()
    assert saved is not None
    return saved.network()


@pytest.fixture
def learn_nan(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[float]]:
    """Make one update give NaN in a weight, or the loss; collect all updates' learning rates."""

    def at_update(update: int, times: int = 1, *, where: str = "weight") -> list[float]:
        rates: list[float] = []
        left = itertools.count(times, -1)
        step = Learner.step

        def poisoned(self: Learner, *arguments: Any) -> Any:
            report = step(self, *arguments)
            rates.append(self.optimizer.param_groups[0]["lr"])
            if self.updates == update and next(left) > 0:
                weight = next(self.network.parameters()).detach().view(-1)[:1]
                {"weight": weight, "loss": report["train/loss"]}[where].fill_(math.nan)
            return report

        monkeypatch.setattr(Learner, "step", poisoned)
        return rates

    return at_update


@pytest.mark.parametrize("agent", AGENTS, ids=lambda flags: flags[0][8:])
@pytest.mark.parametrize("env", ["NanObservation-v0", "NanReward-v0", "InfiniteReward-v0"])
def test_nan_from_an_environment_ends_the_run_and_keeps_what_was_learnt(
    agent: list[str], env: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "a  run"
    code = go(f"--env={env}", *agent, *FAST, "--steps=500", f"--run-dir={run}")
    assert code == ExitCode.NOT_FINITE == 4
    line = only_line(capsys)
    assert f"{env} (environment 0, at step 5 of its episode) is " in line
    assert f"--resume '{run}' continues from the checkpoint of agent step 8" in line
    assert all(x.isfinite().all() for x in newest(run).values())
    assert read_status(run).state is RunState.DIVERGED


def test_a_run_with_huge_finite_rewards_is_done(tmp_path: Path) -> None:
    huge = ["--env=HugeReward-v0", "--clip-rewards", "--warmup-steps=20", "--steps=200"]
    assert go(*huge, *FAST, f"--run-dir={tmp_path}") == 0
    assert all(x.isfinite().all() for x in newest(tmp_path).values())


def test_an_environment_that_raises_leaves_a_checkpoint_and_its_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--env=Raises-v0", "--warmup-steps=20", "--steps=500", *FAST]
    assert go(*arguments, f"--run-dir={tmp_path}") == ExitCode.FAILED == 1
    line = only_line(capsys)
    assert line.startswith("wnrl.train: step() of Raises-v0 (environment 0, at step 4 of its ")
    assert "raised ZeroDivisionError: the simulator crashed; its traceback is in " in line
    (step,) = Checkpoints(tmp_path).steps()
    assert step > 100
    assert f"the checkpoint of agent step {step}" in line
    trace = (tmp_path / "fault.txt").read_text()
    assert 'raise ZeroDivisionError("the simulator\\ncrashed")' in trace
    assert read_status(tmp_path).state is RunState.FAILED
    # Its episodes are counted per process, so the new one goes on past the place.
    assert go("--resume", tmp_path, f"--steps={step + 20}") == 0


def test_an_environment_that_raises_at_once_leaves_its_traceback_and_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--env=RaisesAtReset-v0", *FAST, f"--run-dir={tmp_path}"]
    for _ in range(2):  # the traceback is no run that has to be overwritten
        assert go(*arguments) == 1
        line = only_line(capsys)
        assert "raised OSError: no such level; its traceback is in" in line
        assert "there is no checkpoint" in line
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["fault.txt"]


ODD = ["OldStep-v0", "PairReward-v0", "WrongShape-v0", "RaisesWhenMade-v0"]


@pytest.mark.parametrize("env", ODD)
def test_a_broken_interface_is_unusable_input(
    env: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go(f"--env={env}", *FAST, f"--run-dir={tmp_path}") == 2
    assert env in only_line(capsys)


def test_a_run_that_cannot_be_repeated_says_so_when_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--warmup-steps=20", "--steps=60", *FAST]
    assert go("--env=Restless-v0", *arguments, f"--run-dir={tmp_path / 'a'}") == 0
    out = capsys.readouterr().out
    assert "Restless-v0 depends on more than its seed and actions: this run cannot be resu" in out
    assert go("--env=Plain-v0", *arguments, f"--run-dir={tmp_path / 'b'}") == 0
    assert "note" not in capsys.readouterr().out


def test_learning_nan_stops_at_the_next_log_interval_and_keeps_the_good_checkpoint(
    learn_nan: Callable[..., list[float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = learn_nan(30)  # an update every 5 agent steps after the warm-up: step 250
    every = "--checkpoint-every-steps=200"
    assert go(*CATCH, every, "--steps=900", f"--run-dir={tmp_path}") == 4
    assert len(rates) <= 40  # step 300, before the next checkpoint
    line = only_line(capsys)
    assert "train/loss is nan" in line or "holds NaN or infinity" in line
    assert "continues from the checkpoint of agent step 2" in line
    assert Checkpoints(tmp_path).steps()[-1] < 250
    assert all(x.isfinite().all() for x in newest(tmp_path).values())
    status = read_status(tmp_path)
    assert status.state is RunState.DIVERGED
    assert status.error


@pytest.mark.parametrize(
    ("where", "said"), [("weight", "holds NaN or infinity"), ("loss", "train/loss is nan")]
)
def test_a_checkpoint_with_nan_never_replaces_a_good_one(
    where: str,
    said: str,
    learn_nan: Callable[..., list[float]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    learn_nan(29, where=where)  # the last update before step 250, whose save is first to look
    every = ["--checkpoint-every-steps=50", "--keep-checkpoints=1", "--log-every-steps=100_000"]
    assert go(*CATCH, *every, "--num-envs=1", "--steps=300", f"--run-dir={tmp_path}") == 4
    assert said in only_line(capsys)
    assert Checkpoints(tmp_path).steps() == [200]
    assert all(x.isfinite().all() for x in newest(tmp_path).values())


def test_a_rollback_goes_on_with_half_the_rate_and_other_random_numbers(
    learn_nan: Callable[..., list[float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, rolled = tmp_path / "whole", tmp_path / "rolled"
    every = "--checkpoint-every-steps=200"
    assert go(*CATCH, every, "--steps=600", f"--run-dir={whole}") == 0
    rates = learn_nan(30)
    run = [*CATCH, every, "--on-nonfinite=rollback", "--steps=600"]
    capsys.readouterr()
    assert go(*run, f"--run-dir={rolled}") == 0
    out = capsys.readouterr().out
    assert "back to the checkpoint of agent step 20" in out
    assert "with the learning rate halved to 0.0005" in out
    assert set(rates) == {1e-3, 5e-4}
    assert rates == sorted(rates, reverse=True)
    (reason,) = json.loads((rolled / "config.json").read_text())["rollbacks"]
    assert "nan" in reason.lower()
    rows = [(run / "episodes.csv").read_text().splitlines() for run in (whole, rolled)]
    first = next(k for k, (a, b) in enumerate(zip(*rows, strict=False)) if a != b)
    assert 200 < int(rows[0][first].split(",")[0]) < 450  # equal up to the checkpoint, then not
    assert read_status(rolled).state is RunState.DONE


@pytest.mark.slow
def test_a_rolled_back_run_resumes_bit_for_bit(
    learn_nan: Callable[..., list[float]], tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run = [*CATCH, "--checkpoint-every-steps=200", "--on-nonfinite=rollback"]
    run.append("--schedule-steps=900")
    learn_nan(30)
    assert go(*run, "--steps=900", f"--run-dir={whole}") == 0
    learn_nan(30)
    assert go(*run, "--steps=600", f"--run-dir={parts}") == 0
    rates = learn_nan(10_000)
    assert go("--resume", parts, "--steps=900") == 0
    assert set(rates) == {5e-4}
    assert (whole / "episodes.csv").read_bytes() == (parts / "episodes.csv").read_bytes()
    a, b = newest(whole), newest(parts)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_rollbacks_end(
    learn_nan: Callable[..., list[float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = learn_nan(30, times=1_000)
    run = [*CATCH, "--checkpoint-every-steps=200", "--on-nonfinite=rollback"]
    assert go(*run, "--steps=900", f"--run-dir={tmp_path}") == 4
    assert "the run was rolled back 5 times already" in capsys.readouterr().err
    assert min(rates) == 1e-3 / 32


def test_without_a_checkpoint_there_is_nothing_to_roll_back_to(
    learn_nan: Callable[..., list[float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn_nan(30)
    run = [*CATCH, "--on-nonfinite=rollback", "--steps=900"]
    assert go(*run, f"--run-dir={tmp_path}") == 4
    assert "there is no checkpoint" in only_line(capsys)


def test_an_error_that_nan_caused_is_reported_as_nan(
    learn_nan: Callable[..., list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn_nan(30)

    def refuse_nan(self: Learner) -> dict[str, Tensor | float]:
        raise RuntimeError("linalg.svd: the input contains NaN")

    monkeypatch.setattr(Learner, "scalars", refuse_nan)
    run = [*CATCH, "--log-every-steps=260", "--steps=900", f"--run-dir={tmp_path}"]
    assert go(*run) == 4
