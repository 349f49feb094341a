"""The benchmark of whole training: its ratios on hand numbers, its turns, and a dry run."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from script_modules import SCRIPTS, load_script, refusal

from wnrl._settings import UsageError
from wnrl.agents.catalogue import AGENTS

bench_train = load_script("bench/train.py")
PEERS, Learner, Turn = bench_train.PEERS, bench_train.Learner, bench_train.Turn


def test_a_ratio_is_the_median_over_rounds_of_the_ratios_within_a_round() -> None:
    # Rates 10, 40, 90 against 10, 10, 30: ratios 1, 4, 3. That of the medians would be 40 / 10.
    turns = {
        "ours": [Turn(20, 2.0, 9.0), Turn(80, 2.0, 9.0), Turn(90, 1.0, 9.0)],
        "theirs": [Turn(10, 1.0, 9.0), Turn(10, 1.0, 9.0), Turn(60, 2.0, 9.0)],
    }
    row = bench_train.summary("ours", turns, "theirs")
    assert row["steps_per_s_median"] == "40.0"
    assert (row["steps_per_s_min"], row["steps_per_s_max"]) == ("10.0", "90.0")
    assert row["ratio_median"] == "3.000"
    assert (row["ratio_min"], row["ratio_max"]) == ("1.000", "4.000")
    assert row["rounds"] == 3


def test_turns_are_whole_rounds_after_a_warm_up_and_the_order_turns_around() -> None:
    seen: list[tuple[str, int]] = []

    def learner(name: str, round_steps: int, warm_up_steps: int) -> Any:
        def advance(steps: int) -> int:
            seen.append((name, steps))
            return steps - 1

        return Learner(name, "a", round_steps, warm_up_steps, advance)

    turns = bench_train.take_turns([learner("a", 80, 1), learner("b", 1_024, 2_000)], 2, 160)
    assert seen[:2] == [("a", 80), ("b", 2_048)]
    assert seen[2:] == [("a", 160), ("b", 1_024), ("b", 1_024), ("a", 160)]
    assert [turn.steps for turn in turns["b"]] == [
        1_023,
        1_023,
    ]  # what was used, not what was asked


def test_every_agent_has_a_peer() -> None:
    assert PEERS == {"dqn": "dqn", "a2c": "a2c", "ppo": "ppo", "pqn": "dqn"}
    assert set(PEERS) == set(AGENTS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--agent", "nonsense"], "nonsense"),
        (["--norm", "weigth"], "did you mean weight"),
        (["--rounds", "0"], "--rounds"),
        (["--steps", "many"], "--steps"),
        (["--wide"], "unknown argument '--wide'"),
        (["--csv", str(SCRIPTS)], "is a folder"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert says in refusal(bench_train, "bench_train", arguments, monkeypatch, capsys)


def test_agents_and_normalizations_are_measured_once() -> None:
    _, configs = bench_train.parsed(["--agent", "a2c", "a2c", "--norm", "none", "weight", "none"])
    assert [(c.run.agent, c.run.norm) for c in configs] == [("a2c", "none"), ("a2c", "weight")]
    with pytest.raises(UsageError, match="--norm"):
        bench_train.parsed(["--norm"])


@pytest.mark.slow
def test_a_dry_run_measures_both_sides(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="SB3's Atari wrappers need it")
    out = tmp_path / "rows.csv"
    command = [
        sys.executable,
        str(SCRIPTS / "bench" / "train.py"),
        "--rounds",
        "1",
        "--steps",
        "160",
    ]
    command += ["--agent", "a2c", "--norm", "weight", "--threads", "1", "--csv", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["agent"], row["peer"]) for row in rows] == [
        ("sb3 a2c", "sb3 a2c"),
        ("wnrl a2c weight", "sb3 a2c"),
    ]
    assert {row["steps_per_round"] for row in rows} == {"160"}
    assert all(float(row["ratio_median"]) > 0 for row in rows)
