"""scripts/study/instrument.py: readings of runs whose averages are known."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_results import made_result
from script_modules import load_script

from wnrl.report.run_result import Result

script = load_script("study/instrument.py")

GAME = "MinAtar/Breakout-v1"
FC = "torso.layers.fc"


def run(folder: Path, norm: str, *rows: tuple[str, int, float]) -> Result:
    """A run that ended, with these readings."""
    folder.mkdir()
    lines = [f"{tag},{step},{value}" for tag, step, value in rows]
    (folder / "instruments.csv").write_text("\n".join(["tag,agent_step,value", *lines]) + "\n")
    return replace(made_result([1.0], env=GAME, agent="pqn", norm=norm, seed=1), folder=folder)


def test_readings_are_averaged_over_a_run_and_then_over_seeds(tmp_path: Path) -> None:
    runs = [
        run(
            tmp_path / "1",
            "weight",
            (f"norm/angle/{FC}", 30, 5.0),
            (f"norm/angle/{FC}", 10, 1.0),
            (f"norm/angle/{FC}", 20, 3.0),
            ("norm/angle_of_another/head", 10, 9.0),
        ),
        run(tmp_path / "2", "weight", (f"norm/angle/{FC}", 10, 7.0)),
    ]
    key = "weight", "fc", GAME
    assert script.averaged(runs, "angle") == {key: (3 + 7) / 2}
    assert script.averaged(runs, "angle", "first") == {key: (1 + 7) / 2}
    assert script.averaged(runs, "angle", "last") == {key: (5 + 7) / 2}


def test_a_cell_is_relative_to_the_baselines_layer_in_the_same_game() -> None:
    cells = {
        ("none", "fc", "MinAtar/Asterix-v1"): 2.0,
        ("none", "fc", GAME): 4.0,
        ("none", "head", GAME): 0.0,
        ("weight", "fc", "MinAtar/Asterix-v1"): 3.0,
        ("weight", "fc", GAME): 1.0,
        ("weight", "head", GAME): 1.0,
        ("weight", "gate", GAME): 1.0,
    }
    relative = script.relative(cells, "none")
    assert relative == {
        ("weight", "fc", "MinAtar/Asterix-v1"): pytest.approx(1.5),
        ("weight", "fc", GAME): pytest.approx(0.25),
    }
    assert list(script.table(relative)) == [
        "| variant | layer | Asterix | Breakout |",
        "|---|---|---|---|",
        "| `weight` | fc | 1.5 | 0.25 |",
    ]
    without = {("weight", "fc", GAME): 1.0, ("none", "fc", "MinAtar/Asterix-v1"): 2.0}
    assert list(script.table(without))[2:] == [
        "| `none` | fc | 2 | – |",
        "| `weight` | fc | – | 1 |",
    ]
