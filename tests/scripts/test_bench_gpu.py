"""The benchmark for a lent GPU: its bookkeeping, and a dry run of every row."""

import csv
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from script_modules import SCRIPTS, load_script

from wnrl.agents.catalogue import AGENTS

lease = load_script("bench/lease.py")
VARIANTS = 6  # ways of normalizing in the part network
NORMS_AND_WAYS = 4


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_is_in_the_file_at_once_and_a_failure_takes_none_away(tmp_path: Path) -> None:
    made = lease.Lease(1, tmp_path / "rows.csv", dry=True)
    made.begin("rates", 60)
    assert made.value("copy", "device", "TB/s", lambda: 2.5) == 2.5
    assert [row["value"] for row in read(tmp_path / "rows.csv")] == ["2.5"]

    def broken() -> float:
        raise RuntimeError("out of\nmemory")

    assert math.isnan(made.value("product", "float32", "TFLOP/s", broken))
    made.times({"a": lambda: print, "b": broken}, what="act", size=1)
    rows = read(tmp_path / "rows.csv")
    assert [row["note"] for row in rows] == ["", *["RuntimeError: out of memory"] * 3]
    assert {row["part"] for row in rows} == {"rates"}
    assert made.failures == 2


def test_what_no_time_is_left_for_is_written_and_not_begun(tmp_path: Path) -> None:
    clock = Clock()
    made = lease.Lease(2, tmp_path / "rows.csv", dry=True, now=clock)
    made.begin("first", 30)
    clock.now_s += 29
    assert made.value("a", "", "", lambda: 1.0) == 1.0
    clock.now_s += 1

    def begun() -> Any:
        raise AssertionError("there is no time")

    made.value("b", "", "", begun)
    made.times({"plain": begun, "ours": begun}, what="c")
    made.begin("second", 1_000)  # has what is left of the whole
    clock.now_s += 89
    assert made.left_s == 1
    made.value("d", "", "", lambda: 1.0)
    clock.now_s += 1
    made.value("e", "", "", begun)
    noted = {(row["what"], row["variant"]): row["note"] for row in made.rows if "note" in row}
    assert noted == dict.fromkeys(
        [("b", ""), ("c", "plain"), ("c", "ours"), ("e", "")], lease.NO_TIME
    )
    assert made.failures == 0
    made.check("f", "", 1.0, begun)  # what is not checked is not right
    assert made.failures == 1


def test_an_error_above_its_limit_fails(tmp_path: Path) -> None:
    made = lease.Lease(1, None, dry=True)
    made.check("step", "clipped", 1e-4, lambda: 9e-5)
    assert made.failures == 0
    made.check("step", "clipped", 1e-4, lambda: 2e-4)
    made.check("step", "clipped", 1e-4, lambda: math.nan)
    assert made.failures == 2
    assert [row.get("note", "") for row in made.rows] == ["", "FAILED", "FAILED"]


@pytest.mark.slow
def test_a_dry_run_makes_every_row(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    command = [sys.executable, str(SCRIPTS / "bench" / "gpu.py"), "--dry", "--csv", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read(out)
    assert {row["where"] for row in rows} == {"dry"}
    assert not any(row.get("note") for row in rows)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["part"]] = counts.get(row["part"], 0) + 1
    assert counts == {
        "checks": 9 + len(AGENTS) * NORMS_AND_WAYS,
        "rates": 3,
        "optimizer": 4 * 5,
        "network": 7 * VARIANTS,
        "agents": 2 * len(AGENTS) * NORMS_AND_WAYS,
        "loop": len(AGENTS) * NORMS_AND_WAYS,
        "compiled": 2 * 3,
    }
    names = [(row["part"], row["what"], row["size"], row["variant"]) for row in rows]
    assert len(set(names)) == len(names)
    assert all(float(row["value"]) > 0 for row in rows if row["part"] == "loop")


def test_a_machine_without_a_gpu_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = load_script("bench/gpu.py")
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["bench/gpu.py", "--all"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert "--all needs a GPU" in capsys.readouterr().err
