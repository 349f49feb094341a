"""The benchmark of MinAtar: its turns on hand numbers, wrong flags, and a dry run."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from script_modules import SCRIPTS, load_script, refusal

bench_minatar = load_script("bench/minatar.py")


def test_rates_are_of_cpu_time_without_the_first_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each advance of 10 steps takes 1, 2, 4, 5, 8, 10 seconds, a and b in turns.
    clock = iter([0, 1, 0, 2, 0, 4, 0, 5, 0, 8, 0, 10])
    monkeypatch.setattr(bench_minatar.time, "process_time", lambda: float(next(clock)))
    rates = bench_minatar.measure({"a": lambda steps: steps, "b": lambda steps: steps}, 2, 10)
    assert rates == {"a": [2.5, 1.25], "b": [2.0, 1.0]}
    given = {"steps": 10}
    rows = bench_minatar.rows_of(given, "env", {"a": [1.0, 9.0, 2.0]})
    numbers = [rows[0][f"steps_per_cpu_s_{x}"] for x in ("median", "min", "max")]
    assert numbers == [2, 1, 9]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--game", "Pong"], "Pong"), (["--norm", "weigth"], "did you mean weight"), (["--x"], "--x")],
)
def test_bad_arguments_are_one_line(
    arguments: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert says in refusal(bench_minatar, "bench_minatar", arguments, monkeypatch, capsys)


@pytest.mark.slow
def test_a_dry_run_measures_a_game_alone_and_learning(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    script = str(SCRIPTS / "bench" / "minatar.py")
    flags = ["--game", "Breakout", "--rounds", "1", "--steps", "64", "--agent", "a2c", "dqn"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    command = [sys.executable, script, *flags, "--csv", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["what"], row["game"]) for row in rows] == [
        ("env", "Breakout"),
        ("a2c weight", "Breakout"),
        ("dqn weight", "Breakout"),
    ]
    assert all(float(row["steps_per_cpu_s_median"]) > 0 for row in rows)
    assert all(row["minatar"] == "1.0.15" for row in rows)
