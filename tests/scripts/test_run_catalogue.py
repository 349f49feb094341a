"""The catalogue's table holds a row of every entry, whatever became of its run."""

import csv
import json
import math
import sys
from pathlib import Path

import pytest
from script_modules import load_script

from wnrl.config import make_config
from wnrl.train.run import train

run_catalogue = load_script("run_catalogue.py")


def trained(norm: str, folder: Path, steps: int, env: str, agent: str) -> tuple[int, float]:
    """A run on a toy, in this process; one entry fails."""
    assert (env, agent) == ("Breakout", "dqn")
    calls.append((norm, steps))
    if norm == "rms":
        return 1, 0.5
    config = make_config(
        {"calibrate": False, "warmup_steps": 4, "run_dir": str(folder)},
        env="toy/Catch",
        norm=norm,
        steps=steps,
    )
    for _ in train(config, overwrite=True):
        pass
    return 0, 0.5


calls: list[tuple[str, int]] = []


def table(monkeypatch: pytest.MonkeyPatch, folder: Path, steps: int) -> list[dict[str, str]]:
    calls.clear()
    path = folder / "table.csv"
    monkeypatch.setattr(run_catalogue, "train", trained)
    arguments = [f"--steps={steps}", f"--out={folder}", f"--csv={path}", "--jobs=1", "--norm"]
    monkeypatch.setattr(sys, "argv", ["run_catalogue.py", *arguments, "rms", "none"])
    with pytest.raises(SystemExit, match="True"):  # one failed
        run_catalogue.main()
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_failed_run_and_one_without_a_finished_episode_have_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed, short = table(monkeypatch, tmp_path, 8)  # an episode takes longer
    assert list(failed) == list(short) == list(run_catalogue.COLUMNS)
    assert (failed["norm"], failed["exit_code"], failed["episodes"]) == ("rms", "1", "")
    assert failed["agent_steps"] == "8"
    assert (short["norm"], short["exit_code"], short["episodes"]) == ("none", "0", "0")
    assert math.isnan(float(short["mean_return_last_20"]))


def test_an_entry_that_ended_is_run_again_for_other_steps_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert table(monkeypatch, tmp_path, 8)[1]["agent_steps"] == "8"
    assert calls == [("rms", 8), ("none", 8)]
    table(monkeypatch, tmp_path, 8)
    assert calls == [("rms", 8)]  # which has not ended
    assert table(monkeypatch, tmp_path, 60)[1]["agent_steps"] == "60"
    assert calls == [("rms", 60), ("none", 60)]
    (tmp_path / "none.json").write_text(json.dumps({"exit_code": 0, "cpu_s": 1.0}))
    table(monkeypatch, tmp_path, 60)  # of an earlier script, which did not say
    assert ("none", 60) in calls


def test_the_flags_of_an_entry_reach_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho $#: $@ > {seen}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    entry = "batch --norm.statistics target"
    assert run_catalogue.train(entry, tmp_path / "run", 8, "CartPole-v1", "dqn")[0] == 0
    count, arguments = seen.read_text().split(":")
    assert f"--norm {entry} --steps 8" in arguments
    assert int(count) == len(arguments.split())
    assert run_catalogue.train(entry, tmp_path / "run", 8, "Breakout", "dqn")[0] == 0
    assert "--preset fast" in seen.read_text()
    assert "--eval-every-steps 0" in seen.read_text()
