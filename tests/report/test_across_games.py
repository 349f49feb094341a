"""Aggregation over games: which games are used, and that the numbers are those of their runs."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import pytest
from made_results import made_result

from wnrl.report import across_games, analyze
from wnrl.report.comparison import Aggregate
from wnrl.report.run_result import Result
from wnrl.stats.bootstrap import simulated_coverage, stratified_interval
from wnrl.stats.human_scores import ATARI_5_WEIGHTS, atari_5, human_normalized, human_scores
from wnrl.stats.scores import interquartile_mean
from wnrl.stats.verdict import Verdict


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyze, "reference_scores", lambda *_, **__: ())
    few = functools.partial(simulated_coverage, simulations=20)
    monkeypatch.setattr(across_games, "simulated_coverage", few)


def raw(env: str, normalized: float) -> float:
    random, human = human_scores(env)
    return random + normalized * (human - random)


def runs(env: str, norm: str, *finals: float) -> list[Result]:
    """Return runs that begin at 0 and end at these human-normalized scores."""
    return [
        made_result([raw(env, 0.0)] * 9 + [raw(env, x)], env=env, norm=norm, seed=seed)
        for seed, x in enumerate(finals, 1)
    ]


def aggregate(results: Sequence[Result], swept: Sequence[str] = ()) -> Aggregate:
    generator = np.random.default_rng(0)
    found = analyze.compare_runs(results, [], {}, swept, generator).aggregate
    assert found is not None
    return found


TWO_GAMES = [
    *runs("Breakout", "none", 0.1, 0.2, 0.3),
    *runs("Breakout", "weight", 0.5, 0.6, 0.7),
    *runs("Pong", "none", 0.4, 0.5, 0.6),
    *runs("Pong", "weight", 0.1, 0.5, 1.5),
]


def test_scores_are_human_normalized_final_returns_of_the_same_games() -> None:
    found = aggregate(TWO_GAMES)
    none, weight = found.variants
    assert found.games == ("Breakout", "Pong")
    assert [total.variant.label for total in found.variants] == ["none", "weight"]
    assert none.mean.value == pytest.approx(0.35)
    assert none.iqm.value == pytest.approx((0.2 + 0.3 + 0.4 + 0.5) / 4)  # six runs, one off an end
    assert weight.median.value == pytest.approx((0.6 + 0.7) / 2)
    assert weight.optimality_gap.value == pytest.approx(1 - (0.6 + 1.6 / 3) / 2)
    assert none.iqm.low < none.iqm.value < none.iqm.high
    assert 0.5 < none.iqm_coverage.share < 1
    assert 0.5 < none.optimality_gap_coverage.share < 1
    assert found.fewest_seeds == 3


def test_the_interval_is_the_bootstraps() -> None:
    (total, _) = aggregate(TWO_GAMES).variants
    scores = [human_normalized("Breakout", [raw("Breakout", x) for x in (0.1, 0.2, 0.3)])]
    scores.append(human_normalized("Pong", [raw("Pong", x) for x in (0.4, 0.5, 0.6)]))
    expected = stratified_interval(scores, interquartile_mean, np.random.default_rng(5))
    assert (total.iqm.low, total.iqm.high) == pytest.approx((expected.low, expected.high), abs=5e-3)


def test_the_same_generator_gives_the_same_numbers() -> None:
    first, second = (dataclasses.asdict(aggregate(TWO_GAMES)) for _ in range(2))
    np.testing.assert_equal(first, second)


def test_a_variant_is_compared_with_the_baseline_and_without_one_with_every_other() -> None:
    (found,) = aggregate(TWO_GAMES).contrasts
    assert (found.variant.label, found.baseline.label) == ("weight", "none")
    # Breakout 9 of 9 pairs; Pong: 0.1 wins none, 0.5 one and a tie, 1.5 all three.
    assert found.improvement.value == pytest.approx((1 + 4.5 / 9) / 2)
    assert found.iqm.value == pytest.approx((0.5 + 0.5 + 0.6 + 0.7) / 4 - 0.35)
    assert found.iqm.low < 0 < found.iqm.high
    assert found.margin == pytest.approx(0.1 * 0.35)
    assert found.verdict is Verdict.UNDECIDED
    others = [
        made
        for env in ("Breakout", "Pong")
        for norm in ("layer", "batch", "rms")
        for made in runs(env, norm, 0.1)
    ]
    pairs = [(x.variant.label, x.baseline.label) for x in aggregate(others).contrasts]
    assert pairs == [("batch", "layer"), ("rms", "layer"), ("rms", "batch")]


def test_in_a_sweep_the_baseline_has_the_same_settings() -> None:
    results = [
        made_result([1.0], env=env, norm=norm, learning_rate=rate)
        for env in ("Breakout", "Pong")
        for rate in (1e-3, 1e-2)
        for norm in ("weight", "none")
    ]
    found = aggregate(results, ["learning_rate"]).contrasts
    pairs = [(x.variant.label, x.baseline.label) for x in found]
    assert pairs == [("weight 0.001", "none 0.001"), ("weight 0.01", "none 0.01")]


def test_games_without_a_human_score_or_a_run_of_a_variant_are_left_out_by_name() -> None:
    more = [
        *runs("Seaquest", "none", 0.1, 0.2, 0.3),  # and none of weight
        made_result([1.0], env="Pong", seed=4),
        made_result([1.0], env="CartPole-v1"),
        made_result([1.0], env="CartPole-v1", norm="weight"),
    ]
    found = aggregate([*TWO_GAMES, *more])
    assert found.games == ("Breakout", "Pong")
    assert found.left_out == ("Seaquest", "CartPole-v1")
    assert found.fewest_seeds == 3


def test_games_of_a_custom_protocol_are_normalized_by_the_baseline_and_never_by_a_human() -> None:
    envs = [*ATARI_5_WEIGHTS]
    results = [
        made_result([1.0] * 10 + [final], env=env, norm=norm, sticky=0.1)
        for env in envs
        for norm, final in (("none", 3.0), ("weight", 5.0))
    ]
    found = aggregate(results)
    assert found.baseline_normalized == tuple(envs)
    assert found.all_baseline_normalized
    assert [each.mean.value for each in found.variants] == [1.0, 2.0]
    assert all(each.atari_5 is None for each in found.variants)


def test_a_variant_that_failed_everywhere_does_not_take_the_others_away() -> None:
    failed = [
        made_result([1.0], env=env, norm="layer", done_steps=9) for env in ("Breakout", "Pong")
    ]
    assert [x.variant.label for x in aggregate([*TWO_GAMES, *failed]).variants] == [
        "none",
        "weight",
    ]


@pytest.mark.parametrize(
    "results",
    [
        [*runs("Breakout", "none", 0.1), made_result([1.0], env="CartPole-v1")],
        [made_result([], env=env) for env in ("Breakout", "Pong")],
    ],
)
def test_one_game_with_scores_or_none_is_no_aggregate(results: list[Result]) -> None:
    generator = np.random.default_rng(0)
    assert analyze.compare_runs(results, [], {}, [], generator).aggregate is None


def test_the_profile_falls_from_all_to_no_run_over_the_thresholds() -> None:
    results = [*runs("Breakout", "none", -0.5, 3.0), *runs("Pong", "none", 0.5, 1.0)]
    found = aggregate(results)
    assert (found.thresholds[0], found.thresholds[-1]) == pytest.approx((-0.5, 3.0))
    profile = found.variants[0].profile.profile
    assert profile[1] == 0.75  # of the lowest threshold on
    assert profile[-2] == 0.25
    assert found.thresholds.shape == profile.shape == found.variants[0].profile.low.shape
    far = aggregate([*runs("Breakout", "none", 40.0), *runs("Pong", "none", 0.5)])
    assert far.thresholds[-1] == 8.0


def test_the_iqm_over_training_ends_at_the_iqm() -> None:
    total = aggregate(TWO_GAMES).variants[0]
    assert total.curve is not None
    assert total.curve.steps[[0, -1]].tolist() == [40.0, 1_000.0]
    assert np.isnan(total.curve.mean[:2]).all()  # the first episodes end at 100
    assert total.curve.mean[10] == pytest.approx(0.0)
    assert total.curve.mean[-1] == pytest.approx(total.iqm.value)
    assert total.curve.low[-1] == pytest.approx(total.iqm.low, abs=0.02)
    assert total.curve.high[-1] == pytest.approx(total.iqm.high, abs=0.02)


def test_atari_5_needs_its_five_games_in_any_order() -> None:
    finals = dict(zip(ATARI_5_WEIGHTS, [0.1, 0.2, 0.4, 0.8, 1.6], strict=True))
    results = [made for env in reversed(finals) for made in runs(env, "none", finals[env])]
    found = aggregate([*results, *runs("Pong", "none", 5.0)])
    five = found.variants[0].atari_5
    assert five is not None
    assert five.value == pytest.approx(float(atari_5([[x] for x in finals.values()])))
    assert aggregate(TWO_GAMES).variants[0].atari_5 is None


def test_one_seed_has_no_interval_and_no_coverage() -> None:
    found = aggregate([*runs("Breakout", "none", 0.1), *runs("Pong", "none", 0.5)])
    (total,) = found.variants
    assert total.iqm.value == pytest.approx(0.3)
    assert np.isnan([total.iqm.low, total.iqm_coverage.share]).all()
    assert total.curve is not None
    assert np.isnan(total.curve.high).all()
    assert found.fewest_seeds == 1


def test_minatars_games_are_on_the_scale_of_the_published_dqn() -> None:
    games = {"MinAtar/Breakout-v1": (0.36, 10), "MinAtar/Freeway-v1": (0.41, 50)}
    results = [
        made_result([random, random + share * (dqn - random)], env=env, norm=norm, seed=seed)
        for env, (random, dqn) in games.items()
        for norm in ("none", "weight")
        for seed, share in enumerate((0.2, 0.4, 0.6))
    ]
    found = aggregate(results)
    assert found.games == tuple(games)
    assert found.baseline_normalized == ()
    assert found.variants[0].mean.value == pytest.approx(0.4)
