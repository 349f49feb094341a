"""The benchmark of an agent step's parts: its bookkeeping, and a dry run."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from script_modules import SCRIPTS, load_script, refusal

pytest.importorskip("stable_baselines3")
bench_step = load_script("bench/step.py")


def test_a_part_within_another_counts_only_for_itself() -> None:
    times: Iterator[float] = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0, 21.0])
    ledger = bench_step.Ledger(now=lambda: next(times))  # begins at 0
    with ledger.part("act"):  # rest: 0 to 1
        ledger.timed("input", lambda: None)()  # act: 1 to 3, input: 3 to 6
    with ledger.part("act"):  # act: 6 to 10, rest: 10 to 15
        pass
    assert ledger.seconds == {"rest": 1 + 5, "act": 2 + 4 + 6, "input": 3}


def test_a_cleared_ledger_counts_anew() -> None:
    times: Iterator[float] = iter([0.0, 1.0, 3.0, 7.0])
    ledger = bench_step.Ledger(now=lambda: next(times))
    ledger.clear()
    assert ledger.timed("act", lambda x: x + 1)(2) == 3
    assert ledger.seconds == {"rest": 2, "act": 4}


def test_whole_rounds_are_advanced() -> None:
    class Steps:
        agent_steps = 0

    def ticks() -> Iterator[Steps]:
        while True:
            Steps.agent_steps += 4
            yield Steps()

    running = bench_step.Running(ticks(), 5, 4)  # rounds of 20 agent steps
    assert [running.advance(least) for least in (1, 20, 21)] == [20, 20, 40]


def test_the_floor_is_the_operations_and_the_emulator() -> None:
    assert bench_step.floor_of(3e9, 1e11, 0.01) == pytest.approx(0.04)


@pytest.mark.slow
def test_a_dry_run_accounts_for_the_whole_step(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    command = [sys.executable, str(SCRIPTS / "bench" / "step.py"), "--agent", "dqn"]
    command += ["--norm", "weight", "--threads", "1", "--rounds", "1", "--steps", "8"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    done = subprocess.run(
        [*command, "--csv", str(out)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with out.open(newline="") as file:
        rows = {row["part"]: row for row in csv.DictReader(file)}
    assert tuple(rows) == (*bench_step.PARTS, "whole", "floor")
    shares = {part: float(rows[part]["share"]) for part in rows}
    assert sum(shares[part] for part in bench_step.PARTS) == pytest.approx(1, abs=0.01)
    for part in ("act", "rows", "input", "forward", "backward", "optimizer"):
        assert shares[part] > 0, part
    assert "dqn weight, threads 1: " in done.stdout


def test_an_unknown_agent_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refusal(bench_step, "bench_step", ["--agent", "sac"], monkeypatch, capsys)
    assert "sac" in refused
