"""scripts/study/why.py: explanations on hand numbers, and the last readings of instruments."""

import dataclasses
from pathlib import Path

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
    _, _, *rows = why.explanations(why.tests(results))
    cells = [row.strip("| ").split(" | ") for row in rows]
    return {row[0].replace("`", ""): row[-1] for row in cells}


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


def test_p_is_adjusted_for_all_rows() -> None:
    """A p of 0.02 for one pair is one of 0.04 for two, and of 0.06 for three."""
    one = [*runs("none", [1.0, 2.0, 3.0, 4.0]), *runs("weight", [4.0, 5.0, 6.0, 7.0])]
    again = [
        dataclasses.replace(
            run, config=made_result([0.0], env=env, agent="pqn", norm=run.config.run.norm).config
        )
        for env in ("MinAtar/Asterix-v1", "MinAtar/Seaquest-v1")
        for run in one
    ]
    assert said(one) == {"weight and none": "consistent"}
    _, _, *rows = why.explanations(why.tests([*one, *again]))
    assert [row.strip("| ").split(" | ")[-1] for row in rows] == ["undecided"] * 3
    assert [row.split(" | ")[1] for row in rows] == ["Breakout", "Asterix", "Seaquest"]


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
    assert row == "| Breakout | `weight` | 3 |  |  |  | 55 |"


def test_one_run_of_a_variant_is_not_tested() -> None:
    assert not why.tests([*runs("none", LOW), *runs("weight", [20.0])])
