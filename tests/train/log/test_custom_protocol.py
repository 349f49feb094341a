"""A run under a custom protocol, from its first step to its report."""

import csv
import json
from pathlib import Path

import pytest

from wnrl.config import make_config
from wnrl.envs import vector
from wnrl.evaluate import evaluate_run
from wnrl.report.run_result import read_result
from wnrl.train import train

SHORT = {
    "agent": "a2c", "num_envs": 1, "rollout_steps": 5, "threads": 1, "calibrate": False,
    "eval_every_steps": 0, "progress_every_s": float("inf"), "norm": "none",
}  # fmt: skip


def test_a_run_records_its_protocol_and_its_wrapped_scores_and_is_evaluated_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector, "WRAP_REWARD", 0.0)  # so that each step without points is one
    played = {"env": "Breakout", "mode": 12, "frame_skip": 2, "max_episode_steps": 4}
    for _ in train(make_config({**SHORT, **played, "steps": 25, "run_dir": str(tmp_path)})):
        pass
    rows = list(csv.DictReader((tmp_path / "episodes.csv").read_text().splitlines()))
    assert [row["length"] for row in rows] == ["4"] * len(rows) != []
    assert [row["score_wraps"] for row in rows] == ["4"] * len(rows)
    result = read_result(tmp_path)
    assert (result.protocol, result.wrapped_episodes) == ("custom", len(rows))
    record = json.loads((tmp_path / "config.json").read_text())
    assert record["run"]["mode"] == record["protocol"]["mode"] == 12
    assert record["protocol"]["max_episode_frames"] == 8
    (episode,) = evaluate_run(tmp_path, 1).episodes
    assert episode.length_steps == 4


def test_rewards_of_other_environments_are_no_scores_that_wrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector, "WRAP_REWARD", 1e9)
    for _ in train(
        make_config({**SHORT, "env": "toy/Catch", "steps": 60, "run_dir": str(tmp_path)})
    ):
        pass
    rows = list(csv.DictReader((tmp_path / "episodes.csv").read_text().splitlines()))
    assert {row["score_wraps"] for row in rows} == {"0"}
