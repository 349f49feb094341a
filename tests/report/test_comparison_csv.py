"""verdicts.csv and curves.csv of comparisons made of runs with handwritten results."""

import csv
import dataclasses
import math

import numpy as np
import pytest
from made_results import made_result

from wnrl.report import analyze
from wnrl.report.comparison import Comparison, StagesSoFar, Variant
from wnrl.report.data.comparison_csv import curves_csv, verdicts_csv
from wnrl.stats.verdict import Verdict
from wnrl.train.storage.run_status import RunState

SCORES = {"none": (10.0, 11, 12, 13), "weight": (30.0, 31, 32, 33)}  # constant returns of a seed


@pytest.fixture
def comparison(monkeypatch: pytest.MonkeyPatch) -> Comparison:
    monkeypatch.setattr(analyze, "reference_scores", lambda *_, **__: ())
    results = [
        made_result([0.0] * late + [score] * 20, env=env, norm=norm, seed=seed)
        for env in ("Breakout", "Pong")
        for norm, scores in SCORES.items()
        for seed, (late, score) in enumerate(zip((0, 1, 0, 0), scores, strict=True))
    ]
    return analyze.compare_runs(results, [], {}, [], np.random.default_rng(0))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_a_verdict_is_a_row_with_its_numbers(comparison: Comparison) -> None:
    found = rows(verdicts_csv(comparison))
    final, area = found[:2], found[2:]
    assert [row["measure"] for row in found] == ["final_return"] * 2 + ["area_under_curve"] * 2
    assert [(row["env"], row["variant"], row["baseline"]) for row in final] == [
        ("Breakout", "weight", "none"),
        ("Pong", "weight", "none"),
    ]
    contrast = comparison.contrasts[0]
    assert contrast.verdict is Verdict.BETTER
    row = final[0]
    assert row["verdict"] == "better"
    assert (row["mean"], row["baseline_mean"], row["difference"]) == ("31.5", "11.5", "20")
    for name, number in {
        "low": contrast.difference.low,
        "high": contrast.difference.high,
        "simultaneous_low": contrast.simultaneous.low,
        "simultaneous_high": contrast.simultaneous.high,
        "hedges_g": contrast.effect.value,
        "p_adjusted": contrast.p,
        "equivalence_p_adjusted": contrast.equivalence_p,
        "margin": contrast.margin,
    }.items():
        assert float(row[name]) == pytest.approx(number, rel=1e-5)
    assert row["comparisons"] == "2"
    assert [row[name] for name in ("runs", "runs_asked", "baseline_runs")] == ["4", "4", "4"]
    assert float(area[0]["mean"]) < float(row["mean"])  # the first episode of seed 1 is lower


def test_seeds_in_stages_are_counted_at_the_newest_decision(comparison: Comparison) -> None:
    decided = [
        dataclasses.replace(contrast, stages=StagesSoFar(seeds, most_seeds=20, final=seeds == 10))
        for contrast, seeds in zip(comparison.contrasts, (5, 10), strict=True)
    ]
    staged = dataclasses.replace(comparison, contrasts=tuple(decided), areas=())
    found = rows(verdicts_csv(staged))
    assert [row["decided_on_seeds"] for row in found] == ["5", "10"]
    assert {row["decided_on_seeds"] for row in rows(verdicts_csv(comparison))} == {""}


def test_what_is_not_known_is_empty() -> None:
    results = [made_result([1.0], norm=norm) for norm in SCORES]
    comparison = analyze.compare_runs(results, [], {}, [], np.random.default_rng(0))
    row = rows(verdicts_csv(comparison))[0]
    assert (row["verdict"], row["obstacle"], row["difference"]) == ("undecided", "few_seeds", "0")
    assert [row[name] for name in ("low", "p_adjusted", "comparisons", "margin")] == [""] * 4


def test_lost_runs_are_named_where_they_decide() -> None:
    results = [
        made_result([score] * 20, norm=norm, seed=seed)
        for norm, scores in SCORES.items()
        for seed, score in enumerate(scores)
    ]
    lost = [("Breakout", Variant("weight"), RunState.DIVERGED)] * 2
    comparison = analyze.compare_runs(results, [], {}, [], np.random.default_rng(0), missing=lost)
    row = rows(verdicts_csv(comparison))[0]
    assert (row["verdict"], row["obstacle"]) == ("undecided", "lost_runs")
    assert (row["runs"], row["runs_asked"], row["baseline_runs_asked"]) == ("4", "6", "4")
    assert float(row["p_adjusted"]) < 0.05


def test_a_swept_setting_is_a_column_and_every_pair_a_row() -> None:
    results = [
        made_result([score + rate] * 20, norm=norm, seed=seed, learning_rate=rate)
        for norm in ("layer", "weight")
        for rate in (1e-4, 1e-3)
        for seed, score in enumerate(SCORES["none"])
    ]
    generator = np.random.default_rng(0)
    comparison = analyze.compare_runs(results, [], {}, ["learning_rate"], generator)
    found = rows(verdicts_csv(comparison))
    assert {(row["variant"], row["norm"], row["learning_rate"]) for row in found} <= {
        (f"{norm} {rate}", norm, rate)
        for norm in ("layer", "weight")
        for rate in ("0.0001", "0.001")
    }
    assert len({(row["variant"], row["baseline"]) for row in found}) == 6
    assert {row["learning_rate"] for row in rows(curves_csv(comparison))} == {"0.0001", "0.001"}


def test_a_curve_is_a_row_for_each_point(comparison: Comparison) -> None:
    found = rows(curves_csv(comparison))
    curve = comparison.games[0].variants[0].curve
    assert curve is not None
    own = [row for row in found if (row["env"], row["variant"]) == ("Breakout", "none")]
    shown = ~np.isnan(curve.mean)
    assert 0 < len(own) == shown.sum() < len(curve.steps)
    assert [int(row["agent_step"]) for row in own] == curve.steps[shown].round().tolist()
    for name in ("mean", "low", "high"):
        numbers = [float(row[name]) if row[name] else math.nan for row in own]
        np.testing.assert_allclose(numbers, getattr(curve, name)[shown], rtol=1e-5)
    assert {row["seeds"] for row in own} == {"4"}
    assert {row["env"] for row in found} == {"Breakout", "Pong"}
    assert {row["variant"] for row in found} == set(SCORES)
