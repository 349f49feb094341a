"""The benchmark of runs side by side: its turns with fake runs, wrong flags, and a dry run."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from script_modules import SCRIPTS, load_script, refusal

bench_packing = load_script("bench/packing.py")
Turn, Round = bench_packing.Turn, bench_packing.Round


class FakeRun:
    """A run that does 10 steps per second alone and 8 beside others."""

    training: ClassVar[list["FakeRun"]] = []  # those that train now

    def __init__(self) -> None:
        self.alone = 0

    def send(self, seconds: float) -> None:
        (self.training.append if seconds else self.training.remove)(self)

    def recv(self) -> Any:
        alone = self.training == [self]
        self.alone += alone
        return Turn(10 if alone else 8, 1.0, 1.5)


def test_each_run_takes_its_turn_alone_and_all_train_at_once() -> None:
    runs = [FakeRun(), FakeRun()]
    rounds = bench_packing.take_rounds(runs, 4, 1.0)
    assert [each.ratio for each in rounds] == [1.6] * 4
    assert [run.alone for run in runs] == [2, 2]
    assert FakeRun.training == []


def test_a_row_has_medians_of_the_rounds() -> None:
    rounds = [Round(Turn(10, 1.0, 1.2), [Turn(rate, 1.0, 1.0)] * 2) for rate in (6, 9, 8)]
    row = bench_packing.row_of("dqn-Breakout", 2, rounds)
    names = ("together_steps_per_s", "ratio_median", "ratio_min", "ratio_max", "cores_alone")
    assert [row[name] for name in names] == ["16.0", "1.60", "1.20", "1.80", "1.20"]
    assert "one alone 10.0 on 1.20 cores: 1.60x (1.20 to 1.80)" in bench_packing.line(row)


@pytest.mark.parametrize(
    ("arguments", "says"), [(["--case", "Pong"], "Pong"), (["--runs", "0"], "0"), (["--x"], "--x")]
)
def test_bad_arguments_are_one_line(
    arguments: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert says in refusal(bench_packing, "bench_packing", arguments, monkeypatch, capsys)


@pytest.mark.slow
def test_a_dry_run_measures_two_runs(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    script = str(SCRIPTS / "bench" / "packing.py")
    flags = ["--case", "pqn-MinAtar", "--runs", "2", "--rounds", "1", "--seconds", "1"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    command = [sys.executable, script, *flags, "--csv", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with out.open() as file:
        (row,) = csv.DictReader(file)
    assert (row["case"], row["runs"]) == ("pqn-MinAtar", "2")
    assert float(row["ratio_median"]) > 0
