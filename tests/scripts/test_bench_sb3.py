"""The benchmark of AtariVecEnv within Stable-Baselines3: who meets whom, and a dry run."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from script_modules import SCRIPTS, load_script, refusal

pytest.importorskip("cv2", reason="SB3's Atari wrappers need it")
learners = load_script("bench/learners.py")
bench_sb3 = load_script("bench/sb3.py")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--part", "acting"], "acting"),
        (["--norm", "weigth", "--part", "ppo"], "did you mean weight"),
        (["--rounds", "0"], "--rounds"),
        (["--csv", str(SCRIPTS)], "is a folder"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert says in refusal(bench_sb3, "bench_sb3", arguments, monkeypatch, capsys)


@pytest.mark.slow
def test_all_of_a_contest_have_sb3_s_own_as_their_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learners, "BUFFER_TRANSITIONS", 10)
    contest = bench_sb3.agents("dqn", ["weight"])
    assert [learner.name for learner in contest] == [
        "sb3 dqn",
        "sb3 dqn, AtariVecEnv",
        "sb3 dqn, AtariVecEnv, weight",
    ]
    assert {learner.peer for learner in contest} == {"sb3 dqn"}


@pytest.mark.slow
def test_a_dry_run_measures_every_way_to_step(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    command = [sys.executable, str(SCRIPTS / "bench" / "sb3.py"), "--part", "step", "--rounds", "1"]
    command += ["--steps", "16", "--threads", "1", "--csv", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with out.open() as file:
        rows = list(csv.DictReader(file))
    ways = ["make_atari_env", "make_atari_env, SubprocVecEnv", "AtariVecEnv"]
    assert [row["agent"] for row in rows] == [f"step {n}: {way}" for n in (1, 8) for way in ways]
    assert {row["peer"] for row in rows[3:]} == {"step 8: make_atari_env"}
    assert all(float(row["ratio_median"]) > 0 for row in rows)
