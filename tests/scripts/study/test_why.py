"""scripts/study/why.py: explanations on hand numbers, and the last readings of instruments."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from made_results import made_result
from script_modules import load_script

from wnrl.report.run_result import Result

why = load_script("study/why.py")

GAME = "MinAtar/Breakout-v1"


def runs(norm: str, finals: list[float], rate: float = 1e-3, env: str = GAME) -> list[Result]:
    """Runs whose final returns these are: the last of ten episodes is in the last tenth."""
    return [
        made_result([0.0] * 9 + [x], env=env, agent="pqn", norm=norm, seed=k, learning_rate=rate)
        for k, x in enumerate(finals, 1)
    ]


LOW, HIGH = [9.0, 10.0, 11.0] * 3, [19.0, 20.0, 21.0] * 3


def said(results: list[Result]) -> dict[str, str]:
    """What the data say, by pair; one game."""
    return {
        pair: re.sub(r", p [^,]+", "", cell.split("**, ")[1]) if "**" in cell else "undecided"
        for pair, *_, cell in rows_of(results)
    }


def rows_of(results: list[Result]) -> list[list[str]]:
    """The cells of the table of explanations."""
    _, _, *rows = why.explanations(why.tested(results))
    return [row.strip("| ").replace("`", "").split(" | ") for row in rows]


def test_an_explanation_is_consistent_only_if_the_difference_has_its_sign() -> None:
    assert said([*runs("none", LOW), *runs("weight", HIGH), *runs("hyperball", LOW)]) == {
        "weight and none": "consistent",
        "hyperball and none": "undecided",
    }
    assert said([*runs("weight", LOW), *runs("weight-fixed-v", HIGH)]) == {
        "weight-fixed-v and weight": "contradicted"
    }
    assert said([*runs("weight", HIGH), *runs("weight-fixed-v", LOW)]) == {
        "weight-fixed-v and weight": "consistent"
    }


def test_other_learning_rates_and_lost_runs_are_named() -> None:
    assert said([*runs("none", LOW), *runs("weight", HIGH, rate=5e-4)]) == {
        "weight and none": "descriptive (consistent)"
    }
    lost = dataclasses.replace(runs("none", [10.0])[0], agent_steps=10)
    assert said([*runs("none", LOW), lost, *runs("weight", HIGH)]) == {
        "weight and none": "consistent, without 1 lost run"
    }
    assert said([*runs("none", LOW), lost, *runs("weight", HIGH, rate=5e-4)]) == {
        "weight and none": "descriptive (consistent), without 1 lost run"
    }
    ((*_, cell),) = rows_of([*runs("none", LOW), lost, *runs("weight", LOW)])
    assert cell == "+0.00 [−0.87, +0.87], without 1 lost run"
    mixed = [*runs("weight", HIGH[:5]), *runs("weight", HIGH[5:], rate=5e-4)]
    assert said([*runs("none", LOW), *mixed]) == {"weight and none": "descriptive (consistent)"}


def test_p_is_adjusted_for_all_tests_of_the_protocol() -> None:
    """One of 24: p is 24 times as large, which hides a difference that one test would show."""
    results = [*runs("none", [1.0, 2.0, 3.0, 4.0, 5.0]), *runs("weight", [4.0, 5.0, 6.0, 7.0, 8.0])]
    (one,) = why.tested(results)
    alone = float(one.found.safe_p())
    assert alone == pytest.approx(0.017, abs=0.001)  # t = 3 with 8 degrees of freedom
    assert one.says(alone) == "consistent"
    assert said(results) == {"weight and none": "undecided"}
    far = [*runs("none", [1.0, 2.0, 3.0, 4.0, 5.0]), *runs("weight", [7.0, 8.0, 9.0, 10.0, 11.0])]
    (one,) = why.tested(far)
    ((*_, cell),) = rows_of(far)
    text, p = cell.rsplit(" = ", 1)
    assert text == "**+6.0 [+3.7, +8.3]**, consistent, p"
    assert float(p) == pytest.approx(24 * float(one.found.safe_p()), rel=0.05)


def test_a_pair_has_a_row_and_a_game_a_column() -> None:
    seaquest = "MinAtar/Seaquest-v1"
    both = [*runs("none", LOW, env=seaquest), *runs("weight", LOW, rate=5e-4, env=seaquest)]
    results = [*both, *runs("none", LOW), *runs("hyperball", HIGH)]
    titles, _, *_ = why.explanations(why.tested(results))
    assert titles.endswith("| learning rates | Breakout | Seaquest |")
    weight, hyperball = rows_of(results)
    assert weight[-3:] == ["0.0005, 0.001", "–", "+0.00 [−0.87, +0.87]"]
    assert hyperball[-1] == "–"
    assert hyperball[-2].startswith("**+10.00 [+9.13, +10.87]**, consistent, p < 0.001")


def test_the_last_reading_of_all_layers_is_averaged_over_seeds(tmp_path: Path) -> None:
    results = []
    for seed, (conv, fc, rank) in enumerate([(1.0, 3.0, 50.0), (3.0, 5.0, 60.0)], 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        rows = ["tag,agent_step,value", f"norm/angle/conv1,200,{conv}", "norm/angle/conv1,100,9"]
        rows += [f"norm/angle/fc,200,{fc}", f"norm/srank,200,{rank}", "norm/g_50/fc,200,7"]
        (folder / "instruments.csv").write_text("\n".join(rows) + "\n")
        results.append(dataclasses.replace(runs("weight", [1.0])[0], folder=folder))
    *_, row = why.readings(results)
    assert row == "| `weight` | 3 |  |  |  | 55 |"


def test_readings_are_those_of_the_lowest_and_the_highest_game(tmp_path: Path) -> None:
    results = []
    for game, value in (("Seaquest", 0.5), ("Breakout", 0.125), ("Asterix", 0.25)):
        folder = tmp_path / game
        folder.mkdir()
        (folder / "instruments.csv").write_text(f"tag,agent_step,value\nnorm/srank,1,{value}\n")
        (run,) = runs("none", [1.0], env=f"MinAtar/{game}-v1")
        results.append(dataclasses.replace(run, folder=folder))
    *_, row = why.readings(results)
    assert row == "| `none` |  |  |  |  | 0.125 to 0.5 |"


def test_one_run_of_a_variant_is_not_tested() -> None:
    assert not why.tested([*runs("none", LOW), *runs("weight", [20.0])])


@pytest.mark.slow
def test_the_runs_of_the_studys_own_variants_are_read(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    study = tmp_path / "study"
    grid = ["--env=toy/Catch", "--norm", "none", "none-data", "--seeds=2", "--steps=600"]
    grid += ["--warmup-steps=200", "--update-period-steps=4", "--threads=1", "--jobs=2"]
    for command in (
        ["-m", "wnrl.compare", "--import", "scripts.study.variants", *grid, "--out", study],
        ["scripts/study/why.py", study],
    ):
        ended = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    pair, readings = ended.stdout.split("\n\n")
    assert pair.splitlines()[-1].startswith(
        "| `none-data` and `none` | it is the initialization | "
    )
    assert [line.split(" | ")[0] for line in readings.splitlines()[2:]] == [
        "| `none-data`",
        "| `none`",
    ]
