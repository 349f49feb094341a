"""Sensitivity to swept settings, from runs with made-up scores to sentences and tables."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from made_results import made_result

from wnrl.report.comparison import (
    NONE_LOST,
    Game,
    LostRuns,
    Question,
    Sensitivity,
    Variant,
    VariantScores,
)
from wnrl.report.verdicts.sensitivity import analyze_sensitivity
from wnrl.report.verdicts.sensitivity_text import (
    HOW_TO_READ,
    HOW_TO_READ_NORMS,
    norm_row,
    range_row,
    sensitivity_findings,
)

QUESTION = Question(margin=0.1)
RATES = ("0.0001", "0.001", "0.01")
ENV = "toy/Catch"


def scores(norm: str, values: tuple[str, ...], finals: Sequence[float], env: str) -> VariantScores:
    """Return a variant whose untrained episodes score 0 and whose runs end with these scores."""
    runs = tuple(
        made_result([0.0] * 10 + [final] * 90, env=env, norm=norm, seed=seed)
        for seed, final in enumerate(finals, start=1)
    )
    return VariantScores(Variant(norm, values), runs, None, None, None, None, None, None)


def analyzed(
    by_norm: Mapping[str, Sequence[Sequence[float]]], lost: Mapping[str, int] | None = None
) -> Sensitivity:
    """Analyze one game with these final returns of each normalization at each rate."""
    variants = []
    for norm, by_rate in by_norm.items():
        for rate, finals in zip(RATES, by_rate, strict=True):
            made = scores(norm, (rate,), finals, ENV)
            gone = (lost or {}).get(f"{norm} {rate}", 0)
            kept = LostRuns(diverged=gone) if gone else NONE_LOST
            variants.append(VariantScores(**{**vars(made), "lost": kept}))
    game = Game(ENV, "-", 1_000, tuple(variants), (), random=0.0)
    return analyze_sensitivity([game], ["learning_rate"], QUESTION)


def around(*means: float, spread: float = 0.1, seeds: int = 6) -> list[list[float]]:
    offsets = spread * np.linspace(-1, 1, seeds)
    return [[mean + offset for offset in offsets] for mean in means]


def test_a_plateau_is_wider_than_a_peak_and_the_interval_says_so() -> None:
    found = analyzed({"none": around(0.0, 10.0, 0.0), "weight": around(10.0, 10.0, 10.0)})
    none, weight = found.ranges
    assert (none.label, none.best, none.shared, none.wider) == ("none", "0.001", "0.001", None)
    assert none.width.value == pytest.approx(0.2)  # a tenth of each of two decades
    assert none.width.low > 0.15
    assert none.width.high < 0.25
    assert (weight.width.value, weight.tried) == (pytest.approx(2.0), pytest.approx(2.0))
    assert weight.wider is not None
    assert weight.wider.value == pytest.approx(1.8)
    assert weight.wider.low > 1.5
    assert none.least == pytest.approx(9.0)


def test_the_loss_at_the_shared_value_is_against_each_one_s_best() -> None:
    found = analyzed({"none": around(2.0, 10.0, 4.0), "weight": around(2.0, 5.0, 8.0)})
    none, weight = found.ranges
    assert {x.shared for x in found.ranges} == {"0.001"}  # 15 in all, against 4 and 12
    assert none.loss.value == 0.0
    assert none.loss.low == 0.0
    assert (weight.best, weight.loss.value) == ("0.01", pytest.approx(3.0))
    assert 2.5 < weight.loss.low < 3.0 < weight.loss.high < 3.5


def test_a_value_at_which_runs_diverge_is_no_good_one() -> None:
    flat = {"none": around(10.0, 10.0, 10.0)}
    assert analyzed(flat).ranges[0].width.value == pytest.approx(2.0)
    found = analyzed(flat, {"none 0.01": 6})
    assert found.ranges[0].width.value == pytest.approx(1.0 + 0.2)  # half of the runs at 0
    assert found.ranges[0].best != "0.01"


def test_with_one_seed_there_are_numbers_without_intervals() -> None:
    found = analyzed({"none": around(0.0, 10.0, 0.0, seeds=1), "weight": around(1.0, 9.0, 2.0)})
    none, weight = found.ranges
    assert not none.width.bounded
    assert weight.width.bounded
    assert weight.wider is not None
    assert not weight.wider.bounded


def test_what_learned_nothing_has_no_range() -> None:
    found = analyzed({"none": around(-1.0, -2.0, -1.0), "weight": around(1.0, 9.0, 2.0)})
    assert [x.label for x in found.ranges] == ["weight"]
    assert found.ranges[0].wider is None


def two_games() -> Sensitivity:
    """Weight has one best value; none wants another in each game."""
    best = {"none": {ENV: 0, "CartPole-v1": 2}, "weight": {ENV: 1, "CartPole-v1": 1}}
    games = []
    for env in (ENV, "CartPole-v1"):
        variants = []
        for norm in best:
            for place, rate in enumerate(RATES):
                final = 10.0 if place == best[norm][env] else 1.0 + place
                (finals,) = around(final)
                variants.append(scores(norm, (rate,), finals, env))
        games.append(Game(env, "-", 1_000, tuple(variants), (), random=0.0))
    return analyze_sensitivity(games, ["learning_rate"], QUESTION)


def test_over_games_a_normalization_with_one_best_value_needs_no_tuning() -> None:
    found = two_games()
    assert found.games == (ENV, "CartPole-v1")
    none, weight = found.norms
    assert weight.sensitivity.value == pytest.approx(0.0)
    assert weight.sensitivity.high < 0.05
    assert (weight.dimension.value, weight.settings) == (0, 1)
    assert none.sensitivity.low > 0.3
    assert (none.dimension.low, none.dimension.value, none.dimension.high) == (1, 1, 1)


def test_settings_that_are_not_positive_numbers_have_no_range() -> None:
    variants = [scores("none", (x,), [1.0, 2.0], ENV) for x in ("weight", "paper")]
    game = Game(ENV, "-", 1_000, tuple(variants), (), random=0.0)
    assert analyze_sensitivity([game], ["v_norm"], QUESTION).ranges == ()
    assert analyze_sensitivity([game], [], QUESTION) == Sensitivity()


def test_the_sentences_and_tables_have_the_same_numbers() -> None:
    found = analyzed({"none": around(2.0, 10.0, 4.0), "weight": around(2.0, 5.0, 8.0)})
    none, weight = sensitivity_findings(found)
    assert none.subject == f"{ENV}, learning-rate"
    assert none.sentence.startswith("none is within the margin of its best final return over 0.29 ")
    assert "2.00 decades. At the shared value 0.001 it loses 0 [0, 0] against" in none.sentence
    assert "decades (+" in weight.sentence or "decades (−" in weight.sentence
    assert weight.sentence.endswith("against its best, 0.01.")
    row = range_row(found.ranges[1])
    assert row[:4] == (ENV, "learning-rate", "weight", "0.01")
    assert all(cell.split(" of ")[0] in weight.sentence for cell in row[4:])
    over_games = list(sensitivity_findings(two_games()))[-1]
    assert over_games.subject == "Sensitivity over 2 games"
    rows = [norm_row(x) for x in two_games().norms]
    assert all(f"{row[1]} with {row[0]}" in over_games.sentence for row in rows)
    assert rows[0][2:] == ("1 [1, 1]", "1")


def test_explanations_are_single_lines_for_every_report() -> None:
    assert not any("\n" in text for text in (HOW_TO_READ, HOW_TO_READ_NORMS))


def test_many_ranges_are_left_to_the_table() -> None:
    found = analyzed({norm: around(1.0, 9.0, 2.0) for norm in ("none", "weight", "layer", "rms")})
    many = Sensitivity(found.ranges * 2)
    (finding,) = sensitivity_findings(many)
    assert "for 8 variants" in finding.sentence
