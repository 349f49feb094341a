"""The benchmarks' shared code on hand numbers, and that the one of weight norm runs through."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from script_modules import SCRIPTS, load_script

bench_norms = load_script("bench/norms.py")
timing = load_script("bench/timing.py")


def test_variants_take_turns_and_the_order_turns_around() -> None:
    seen: list[str] = []
    works = {name: (lambda name=name: seen.append(name)) for name in ("a", "b")}

    def timer(work: Callable[[], Any], calls: int) -> float:
        for _ in range(calls):
            work()
        return {"a": 6.0, "b": 9.0}[seen[-1]]

    times = timing.paired(works, rounds=2, repeats=3, timer=timer)
    assert "".join(seen) == "ab" + "aaabbb" + "bbbaaa"
    assert times == {"a": [2.0, 2.0], "b": [3.0, 3.0]}


def test_works_are_built_anew_for_each_quarter_of_the_rounds_in_turned_order() -> None:
    built: list[str] = []

    def maker(name: str) -> Callable[[], None]:
        built.append(name)
        return lambda: None

    makers = {name: (lambda name=name: maker(name)) for name in ("a", "b")}
    times = timing.paired_rebuilt(makers, 8, 1, lambda work, calls: 3.0)
    assert "".join(built) == "ab" + "ba" + "ab" + "ba"
    assert times == {"a": [3.0] * 8, "b": [3.0] * 8}


def test_a_ratio_is_the_median_of_the_pairs_and_not_of_the_medians() -> None:
    times = {"plain": [1.0, 2.0, 4.0], "ours": [3.0, 2.0, 5.0]}
    first, second = timing.table(times, calls=2, what="act")
    assert first == {
        "what": "act",
        "variant": "plain",
        "milliseconds": 1.0,
        "ratio": 1.0,
        "ratio_quartiles": "1.000-1.000",
    }
    assert (second["milliseconds"], second["ratio"]) == (1.5, 1.25)  # of 3, 1 and 1.25
    assert second["ratio_quartiles"] == "1.000-3.000"


def test_a_stand_in_replays_what_was_called_while_it_recorded() -> None:
    seen: list[int] = []
    replay = timing.captured(lambda: seen.append(1), "cpu", calls=3)
    assert len(seen) == 1 + 3
    replay()
    assert len(seen) == 1 + 3 + 3


@pytest.mark.parametrize("threads", [1, 2])
def test_the_cpus_timer_counts_every_call(threads: int) -> None:
    seen: list[int] = []
    assert timing.timer_of("cpu", threads)(lambda: seen.append(1), 4) >= 0
    assert len(seen) == 4


@pytest.mark.slow
def test_the_benchmark_of_weight_norm_reaches_every_path_when_dry(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    command = [sys.executable, str(SCRIPTS / "bench" / "weight_norm.py"), "--dry", "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    done = subprocess.run(
        [*command, "--csv", str(out)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with out.open() as file:
        rows = list(csv.DictReader(file))
    variants = ("plain", "ours w", "ours gv", "torch parametrization", "batch norm")
    for what in ("act", "update", "update, clipped"):
        assert tuple(row["variant"] for row in rows if row["what"] == what) == variants
    assert {row["where"] for row in rows} == {"dry"}


def test_no_round_begins_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr(timing.time, "monotonic", lambda: next(clock))
    works = {"a": lambda: None}
    assert len(timing.paired(works, 9, 1, lambda work, calls: 1.0, until_s=3.0)["a"]) == 3
    assert len(timing.paired(works, 9, 1, lambda work, calls: 1.0, until_s=0.0)["a"]) == 1


@pytest.mark.parametrize(
    ("norm", "message"),
    [
        ("batch:eps", "--norm batch:eps: 'eps' has no value; parameters are batch:NAME=VALUE"),
        ("batch:eps=", "'eps' has no value"),
        ("batch:=1", "is not a parameter of normalization batch"),
        ("batch:epz=1", "did you mean eps"),
        ("batch:eps=x", "--norm.eps takes a number, not 'x'"),
        ("batsh", "did you mean batch"),
        ("group:groups=7", "--norm.groups 7 does not divide"),
    ],
)
def test_a_norm_that_cannot_be_measured_is_one_line_and_exit_2(
    norm: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench/norms.py", "--norm", norm])
    with pytest.raises(SystemExit) as ended:
        bench_norms.main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_parameters_of_a_norm_stand_after_a_colon() -> None:
    settings = bench_norms.variant("group:groups=16,eps=1e-4").norm.settings
    assert (settings.groups, settings.eps) == (16, 1e-4)
    assert bench_norms.variant("weight").norm.name == "weight"


def test_the_flags_of_placement_and_input_stand_there_too() -> None:
    spec = bench_norms.variant("layer:norm-after=activation,norm-input=batch")
    assert (spec.norm.name, spec.norm.after, spec.norm_input) == ("layer", "activation", "batch")
    names = [type(module).__name__ for module in bench_norms.network(spec).modules()]
    assert "BatchNorm2d" in names
    assert names.index("Conv2d") < names.index("ReLU") < names.index("LayerNorm")
