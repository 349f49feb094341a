"""The curvature along a run: it changes nothing, and a resumed run reads the same."""

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wnrl._settings import SettingError
from wnrl.config import make_config
from wnrl.instruments.curvature.instrument import CurvatureInstrument
from wnrl.optim.step import OptimizerSpec
from wnrl.rl.problem import Problem
from wnrl.train import command
from wnrl.train.build import check_curvature, resolve
from wnrl.train.storage.checkpoint import Checkpoints

TOY = ["--env=toy/Catch", "--no-calibrate", "--no-wall-time", "--instruments-every-updates=0"]
DQN = ["--warmup-steps=200", "--update-period-steps=4"]


def run(folder: Path, *arguments: str) -> Path:
    """Train from the command line."""
    assert command.main([*TOY, *arguments, f"--run-dir={folder}"]) == 0
    return folder


def weights(folder: Path) -> bytes:
    """The weights of the newest checkpoint, to the bit."""
    saved = Checkpoints(folder).latest()
    assert saved is not None
    return (saved.path / "network.pt").read_bytes()


def table(folder: Path) -> list[dict[str, str]]:
    """The readings of a run."""
    return list(csv.DictReader((folder / "curvature.csv").read_text().splitlines()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        [*DQN, "--norm=batch", "--norm.statistics=joint", "--steps=260"],
        [*DQN, "--norm=weight", "--weight-storage=gv", "--steps=260"],
        ["--agent=ppo", "--norm=weight", "--num-envs=4", "--rollout-steps=16", "--steps=200"],
    ],
)
def test_a_run_ends_with_the_same_bytes_with_the_curvature_and_without(
    tmp_path: Path, flags: list[str]
) -> None:
    watched = run(tmp_path / "watched", *flags, "--curvature-every-updates=6")
    plain = run(tmp_path / "plain", *flags)
    assert weights(watched) == weights(plain)
    assert (watched / "episodes.csv").read_bytes() == (plain / "episodes.csv").read_bytes()
    rows = table(watched)
    assert len({row["agent_step"] for row in rows}) >= 2
    assert {"w", "gv"} == {row["where"] for row in rows if row["quantity"] == "hessian_largest"}
    assert not (plain / "curvature.csv").exists()


@pytest.mark.slow
def test_a_run_that_goes_on_reads_what_one_never_stopped_reads(tmp_path: Path) -> None:
    flags = [*DQN, "--norm=weight", "--curvature-every-updates=6", "--schedule-steps=500"]
    whole = run(tmp_path / "whole", *flags, "--steps=300")
    parts = run(tmp_path / "parts", *flags, "--steps=257")
    assert command.main(["--resume", str(parts), "--steps=300"]) == 0
    assert table(whole) == table(parts)


@pytest.mark.slow
def test_a_resumed_run_may_begin_to_measure(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", *DQN, "--steps=240")
    more = ["--resume", str(folder), "--steps=280", "--curvature-every-updates=4"]
    assert command.main(more) == 0
    assert {int(row["agent_step"]) for row in table(folder)} <= set(range(240, 281))
    assert len(table(folder)) > 30


def test_it_measures_every_nth_update_from_enough_rows() -> None:
    network = nn.Linear(2, 1)
    x, done = torch.randn(16, 2, generator=torch.Generator().manual_seed(0)), [0]

    def loss(net: nn.Module, inputs: Tensor) -> Tensor:
        return net(inputs).square().mean()  # type: ignore[no-any-return]

    watch = CurvatureInstrument(
        network,
        OptimizerSpec().build([{"params": list(network.parameters())}]),
        3,
        problem=lambda: Problem(loss, x, 16),
        updates=lambda: done[0],
    )
    read: list[int] = []
    for done[0] in range(6):
        watch.before_step(x, x)
        reading = watch.pop_reading()
        read += [done[0]] if reading else []
    assert read == [2, 5]
    assert reading["norm/curvature/hessian_largest/w"] > 0
    assert watch.pop_reading() == {}
    assert not watch.looks(7)
    assert [ahead for ahead in range(7) if watch.looks(16, ahead)] == [0, 3, 6]  # five are done
    with pytest.raises(ValueError, match="every_updates is -1"):
        CurvatureInstrument(nn.Linear(1, 1), watch._optimizer, -1, lambda: None, lambda: 0)


def test_recurrent_runs_are_refused() -> None:
    config = make_config(
        env="CartPole-v1", agent="ppo", recurrent=True, curvature_every_updates=100
    )
    with pytest.raises(SettingError, match="cannot measure a recurrent network"):
        check_curvature(resolve(config))
    check_curvature(resolve(make_config(env="CartPole-v1", curvature_every_updates=100)))
