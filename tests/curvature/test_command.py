"""`python -m wnrl.curvature` on checkpoints of every agent, and what it refuses."""

import csv
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from wnrl.curvature import table
from wnrl.curvature.command import main
from wnrl.curvature.next_update import next_update
from wnrl.train import command as train
from wnrl.train import resume
from wnrl.train.storage.checkpoint import Checkpoints

FEW = ("--rows=32", "--small-rows=8", "--iterations=4")


def trained(folder: Path, *flags: str) -> Path:
    """A short run on CartPole."""
    arguments = ["--env=CartPole-v1", "--threads=1", "--no-calibrate", "--eval-every-steps=0"]
    assert train.main([*arguments, f"--run-dir={folder}", *flags]) == 0
    return folder


@pytest.fixture(scope="module")
def dqn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "dqn"
    return trained(
        folder,
        "--steps=160",
        "--num-envs=1",
        "--warmup-steps=100",
        "--checkpoint-every-steps=80",
    )


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--rows=3"], "--rows 3 is out of range; it must be at least 4"),
        (["--iterations=0"], "--iterations 0 is out of range; it must be at least 1"),
        (
            ["--small-rows=9", "--rows=16"],
            "--small-rows 9 is out of range; it must be at most half",
        ),
        (["--seed=-1"], "--seed -1 is out of range; it must be at least 0"),
        ([], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    flags: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nowhere"), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wnrl.curvature: ")
    assert problem in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "steps", "norm", "data"),
    [
        ("dqn", "--warmup-steps=100", "weight", "drawn from the run's replay"),
        ("dqn", "--warmup-steps=100", "batch", "drawn from the run's replay"),
        ("pqn", "--num-envs=4", "layer", "collected with the checkpoint's policy, seed 0"),
        ("a2c", "--num-envs=4", "weight", "collected with the checkpoint's policy, seed 0"),
        ("ppo", "--num-envs=4", "batch", "collected with the checkpoint's policy, seed 0"),
    ],
)
def test_every_agent_s_checkpoint_is_measured(
    agent: str,
    steps: str,
    norm: str,
    data: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = trained(tmp_path / "run", "--steps=160", f"--agent={agent}", f"--norm={norm}", steps)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main([str(run), *FEW]) == 0
    printed = capsys.readouterr().out
    assert f"{agent} with norm {norm} on CartPole-v1" in printed
    assert f"data: 32 transitions, {data}" in printed
    assert "all layers" in printed
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_readings_are_written_and_repeat(
    dqn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert main([str(dqn), *FEW, f"--out={tmp_path / name}"]) == 0
    one, two = ((tmp_path / name / "curvature_step_000000160.csv") for name in ("one", "two"))
    assert one.read_text() == two.read_text()
    rows = list(csv.DictReader(one.read_text().splitlines()))
    document = json.loads(one.with_suffix(".json").read_text())
    assert {row["agent_steps"] for row in rows} == {"160"}
    named = {f"{row['quantity']}/{row['where']}": float(row["value"]) for row in rows}
    assert named.keys() == document["readings"].keys()
    assert named["hessian_largest/w"] == pytest.approx(document["readings"]["hessian_largest/w"])
    assert named["hessian_largest/w"] > 0
    assert main([str(dqn), *FEW, f"--out={tmp_path / 'none'}"]) == 2
    assert "is no folder; make it" in capsys.readouterr().err


def readings() -> dict[str, float]:
    """Hand numbers: 1 in w, 2 in (g, v), and no noise that has a scale."""
    spectrum = {
        f"{matrix}_{quantity}/{where}": value
        for matrix in ("hessian", "gauss_newton")
        for quantity in ("largest", "smallest", "mean_magnitude", "condition", "top5_ratio")
        for where, value in (("w", 1.0), ("gv", 2.0))
    }
    noise = {"noise_scale/all": math.inf, "gradient_squared/all": math.nan}
    return {**spectrum, "adaptive_sharpness/w": 0.5, **noise}


def test_the_table_has_w_and_gv_in_their_columns() -> None:
    lines = [line.split() for line in table.shown(readings())]
    assert ["Hessian,", "largest", "eigenvalue", "1", "2"] in lines
    assert ["adaptive", "sharpness", "0.5"] in lines
    assert ["all", "layers", "inf", "nan", "-", "-", "-"] in lines


def test_what_is_not_finite_is_null_in_json(tmp_path: Path) -> None:
    one, other = table.write(tmp_path, 160, readings())
    written = json.loads(Path(other).read_text())["readings"]
    assert written["hessian_largest/gv"] == 2.0
    assert written["noise_scale/all"] is None
    assert "160,noise_scale,all,inf" in Path(one).read_text().splitlines()


@pytest.mark.slow
def test_a_checkpoint_is_named_by_its_step(dqn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(dqn), "--checkpoint=7"]) == 2
    assert "has no checkpoint of agent step 7; it has 80, 160" in capsys.readouterr().err
    assert main([str(dqn), "--checkpoint=80", *FEW]) == 2
    assert "has learnt nothing yet at agent step 80" in capsys.readouterr().err


@pytest.mark.slow
def test_a_rollout_and_the_rows_of_it_follow_the_seed(tmp_path: Path) -> None:
    flags = ("--steps=160", "--agent=ppo", "--num-envs=4", "--norm=batch")
    run = trained(tmp_path / "run", *flags)

    def observations(rows: int, seed: int) -> torch.Tensor:
        update = next_update(run, rows, checkpoint=None, seed=seed)
        saved = Checkpoints(run).latest()
        assert saved is not None
        for name, value in saved.state()["agent"]["network"].items():
            assert torch.equal(update.network.state_dict()[name], value), name
        minibatch, _ = update.problem.inputs
        obs: torch.Tensor = minibatch.rows.obs
        return obs

    every = observations(128, 0)  # the whole rollout
    assert len(every) == 128
    assert not torch.equal(every, observations(128, 1))
    few = observations(30, 0)
    torch.manual_seed(5)
    assert torch.equal(few, observations(30, 0))


@pytest.mark.slow
def test_small_batches_of_more_than_half_of_the_rows_are_refused(
    dqn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    update = next_update(dqn, 32, checkpoint=None, seed=0)
    short = update._replace(problem=update.problem.take(torch.arange(10)))
    monkeypatch.setattr(table, "next_update", lambda *_, **__: short)
    assert main([str(dqn), *FEW]) == 2
    assert "--small-rows 8 is more than half of the 10 transitions" in capsys.readouterr().err


@pytest.mark.slow
def test_the_loss_is_the_one_that_the_resumed_run_reports(dqn: Path, tmp_path: Path) -> None:
    update = next_update(dqn, 64, checkpoint=None, seed=0)  # 64 rows: the run's own batch size
    loss = update.problem.loss(update.network, update.problem.inputs).item()
    losses: list[float] = []
    for tick in resume(Path(shutil.copytree(dqn, tmp_path / "run")), {"steps": 164}):
        losses += [] if tick.metrics is None else [float(tick.metrics["train/loss"])]
    assert loss == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.slow
def test_a_recurrent_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path / "run", "--steps=64", "--agent=ppo", "--recurrent", "--num-envs=4")
    assert main([str(run)]) == 2
    assert "has a recurrent network" in capsys.readouterr().err
