"""Comparison of runs of one game, on handmade results."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from made_results import made_result

from wnrl.report import analyze
from wnrl.report.comparison import Comparison, Game, LostRuns, Variant
from wnrl.report.run_result import Result
from wnrl.report.sentences import findings
from wnrl.stats.intervals import t_interval
from wnrl.stats.learning_curves import curve
from wnrl.stats.reference_scores import Reference

PUBLISHED = Reference("DQN", 401.2, 4_000, None, "Mnih et al. 2015", "classic")


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    recorded: list[dict[str, Any]] = []

    def reference_scores(env: str, **how: Any) -> tuple[Reference, ...]:
        recorded.append({"env": env, **how})
        return (PUBLISHED,)

    monkeypatch.setattr(analyze, "reference_scores", reference_scores)
    return recorded


def comparison(
    results: Sequence[Result],
    planned: Sequence[tuple[str, Variant]] = (),
    swept: Sequence[str] = (),
) -> Comparison:
    generator = np.random.default_rng(0)
    return analyze.compare_runs(results, planned, {"gone": "missing"}, swept, generator)


def only_game(*results: Result) -> Game:
    (game,) = comparison(results).games
    return game


def test_a_variant_has_the_t_intervals_of_its_seeds() -> None:
    runs = [made_result([0.0] * 9 + [x], seed=k) for k, x in enumerate([4.0, 5.0, 9.0], 1)]
    game = only_game(*runs)
    (scores,) = game.variants
    assert scores.final == t_interval([4.0, 5.0, 9.0])
    assert scores.area == t_interval([run.area for run in runs])
    assert scores.runs == tuple(runs)
    assert game.fewest_seeds == 3


def test_the_curve_is_the_mean_over_seeds_once_all_have_ended_an_episode() -> None:
    early = made_result([1.0, 2.0, 3.0, 4.0])  # at 250, 500, 750 and 1,000
    late = made_result([5.0, 7.0], seed=2)  # at 500 and 1,000
    found = only_game(early, late).variants[0].curve
    assert found is not None
    assert found.steps.tolist() == [10.0 * k for k in range(1, 101)]
    assert np.isnan(found.mean[:49]).all()
    at = dict(zip(found.steps.tolist(), found.mean.tolist(), strict=True))
    assert (at[500], at[740], at[750], at[990], at[1000]) == (3.5, 3.5, 4.0, 4.0, 5.5)
    heights = [
        curve(run.episode_steps, run.returns, found.steps, window_steps=100)[74]
        for run in (early, late)
    ]
    interval = t_interval(heights)
    assert (found.low[74], found.high[74]) == (interval.low, interval.high)


def test_one_seed_has_a_curve_without_an_interval() -> None:
    found = only_game(made_result([3.0])).variants[0].curve
    assert found is not None
    assert found.mean[-1] == 3.0
    assert np.isnan(found.low).all()


def test_evaluations_are_averaged_if_every_run_has_them() -> None:
    (scores,) = only_game(
        made_result([1.0], evaluations=[1.0, 8.0, 3.0]),
        made_result([1.0], evaluations=[6.0, 2.0], seed=2),
    ).variants
    assert (scores.best_evaluation, scores.mean_evaluation) == (7.0, 4.0)
    (scores,) = only_game(
        made_result([1.0], evaluations=[1.0]), made_result([1.0], seed=2)
    ).variants
    assert scores.best_evaluation is scores.mean_evaluation is None


def test_cost_is_the_median_of_the_runs_that_recorded_it() -> None:
    (scores,) = only_game(
        made_result([1.0], act_ms=1.0, wall_s=10.0),
        made_result([1.0], act_ms=9.0, wall_s=20.0, seed=2),
        made_result([1.0], act_ms=2.0, seed=3),
    ).variants
    assert scores.cost is not None
    assert (scores.cost.act_ms, scores.cost.steps_per_s) == (2.0, 75.0)
    assert math.isnan(scores.cost.update_ms)


def test_variants_keep_the_requested_order_and_those_without_runs_are_listed() -> None:
    planned = [("Breakout", Variant("weight")), ("Breakout", Variant("layer"))]
    results = [
        made_result([1.0], norm="none"),
        made_result([2.0], norm="weight"),
        made_result([9.0], norm="weight", seed=2, done_steps=500),  # not done: no score
        made_result([], norm="weight", seed=3),  # no episode ended
    ]
    found = comparison(results, planned)
    (game,) = found.games
    assert [each.variant.label for each in game.variants] == ["weight", "layer", "none"]
    weight, layer, _ = game.variants
    assert weight.final is not None
    assert (weight.final.value, len(weight.runs)) == (2.0, 1)
    assert layer.runs == ()
    assert layer.final is layer.area is layer.curve is layer.cost is None
    assert weight.lost == LostRuns(unfinished=1, without_an_episode=1)
    assert game.fewest_seeds == 0
    assert found.problems == {"gone": "missing"}


def test_a_swept_value_makes_a_variant() -> None:
    results = [
        made_result([1.0], learning_rate=1e-3),
        made_result([2.0], learning_rate=1e-2),
    ]
    (game,) = comparison(results, swept=["learning_rate"]).games
    assert [each.variant.label for each in game.variants] == ["none 0.001", "none 0.01"]


def test_published_scores_are_looked_up_by_frames_and_only_for_atari(
    calls: list[dict[str, Any]],
) -> None:
    results = [made_result([1.0]), made_result([1.0], env="CartPole-v1", steps=500, done_steps=500)]
    breakout, cart_pole = comparison(results).games
    assert calls == [{"env": "Breakout", "agent": "dqn", "protocol": "classic", "frames": 4_000}]
    assert breakout.references == (PUBLISHED,)
    assert (cart_pole.references, cart_pole.protocol) == ((), "-")
    assert (breakout.total_steps, cart_pole.total_steps) == (1_000, 500)


def test_a_swept_protocol_has_no_published_scores(
    calls: list[dict[str, Any]],
) -> None:
    results = [made_result([1.0], protocol=protocol) for protocol in ("classic", "sticky")]
    (game,) = comparison(results, swept=["protocol"]).games
    assert (game.protocol, game.references, calls) == ("classic, sticky", (), [])
    assert [each.variant.label for each in game.variants] == ["none classic", "none sticky"]


def test_a_custom_protocol_has_no_published_score_and_no_human_level(
    calls: list[dict[str, Any]],
) -> None:
    found = comparison([made_result([2.0, 9.0], frame_skip=2)])
    (game,) = found.games
    assert (game.protocol, game.frame_skip, game.references, calls) == ("custom", 2, (), [])
    assert game.levels is None
    assert game.random == 2.0  # of the first episode, not the published one
    assert found.facts["protocol"].startswith("custom: ")
    assert "2 frames in an agent step" in found.facts["protocol"]
    drawn = comparison([made_result([2.0], agent="a2c", frame_skip=2)]).facts["protocol"]
    assert "evaluated at epsilon 0," in drawn
    named = only_game(made_result([2.0, 9.0]))
    assert (named.levels is not None, named.random, named.frame_skip) == (True, 1.7, 4)


def test_a_game_with_other_arguments_has_no_published_level() -> None:
    env = "MinAtar/Breakout-v1"
    usual = only_game(made_result([2.0, 9.0], env=env))
    game = only_game(made_result([2.0, 9.0], env=env, env_kwargs="sticky_action_prob=0.5"))
    assert usual.levels is not None
    assert (game.levels, game.random, game.protocol) == (None, 2.0, "-")


def test_runs_of_several_frame_skips_have_none_in_common() -> None:
    results = [made_result([1.0], frame_skip=frames) for frames in (1, 4)]
    (game,) = comparison(results, swept=["frame_skip"]).games
    assert (game.protocol, game.frame_skip, game.levels) == ("custom, classic", 0, None)


def test_episodes_whose_score_wrapped_are_counted_by_run() -> None:
    wrapped = dataclasses.replace(made_result([1.0]), wrapped_episodes=2)
    found = comparison([wrapped, made_result([1.0], seed=2)])
    assert found.wrapped == {"Breakout none, seed 1": 2}
    (finding,) = (each for each in findings(found) if each.subject == "Scores too low")
    assert "In 2 episodes the game's score passed 999,999" in finding.sentence
    assert "Breakout none, seed 1: 2." in finding.sentence


def test_the_facts_are_what_runs_have_in_common_and_each_value_where_they_differ() -> None:
    results = [
        made_result([1.0], norm=norm, seed=seed, batch_size=64, evaluations=[1.0, 2.0])
        for norm, seed in [("none", 1), ("none", 2), ("weight", 1)]
    ]
    results.append(made_result([1.0], norm="weight", seed=2, batch_size=64, threads=2, machine="b"))
    results.append(made_result([1.0], norm="weight", seed=3, batch_size=64))
    assert comparison(results).facts == {
        "agent": "dqn",
        "protocol": "classic",
        "agent steps": "1,000",
        "seeds": "2 to 3",
        "evaluations": "2 with 10 episodes each, none",
        "settings": "--batch-size 64",
        "date": "-",
        "differences in settings": "none",
        "machine": "cpu x86_64, 1 thread or b",
        "commit": "abc",
        "versions": "torch 2.13",
    }


def test_games_of_different_lengths_are_compared_and_each_length_is_named() -> None:
    runs = [
        made_result([1.0, 9.0], norm=norm, env=env, steps=steps, done_steps=steps)
        for env, steps in (("toy/Catch", 500), ("CartPole-v1", 1_000))
        for norm in ("none", "weight")
    ]
    found = comparison(runs)
    assert [game.total_steps for game in found.games] == [500, 1_000]
    assert found.facts["agent steps"] == "toy/Catch 500, CartPole-v1 1,000"
    assert found.aggregate is not None
    curve = found.aggregate.variants[0].curve
    assert curve is not None
    assert (curve.steps[-1], curve.mean[-1]) == (100.0, 1.0)  # percent


def test_missing_runs_make_an_empty_comparison() -> None:
    found = comparison([], [("Breakout", Variant("none"))])
    (game,) = found.games
    assert (found.agent, game.total_steps, game.protocol, game.references) == ("-", 0, "-", ())


def test_final_returns_from_before_the_last_tenth_are_named() -> None:
    """As of MinAtar's Freeway, whose 128 copies end their episodes at the same steps."""
    late = [made_result([1.0, 2.0], seed=seed) for seed in (1, 2)]  # ended after 500 and 1,000
    early = [
        dataclasses.replace(
            made_result([1.0, 2.0], norm="rms", seed=seed), episode_steps=np.array([100.0, end])
        )
        for seed, end in ((1, 640.0), (2, 900.0))
    ]
    found = dict(findings(comparison([*late, *early])))
    assert found["Early final returns"] == (
        "Some final returns are not from the last 10% of the agent steps, because no episode ended "
        "there: in Breakout, 2 of 4 runs, where the last episode ended after 64% to 90% of the "
        "steps. They describe earlier learning. Choose --steps so that an episode ends in time."
    )
    assert "Early final returns" not in dict(findings(comparison(late)))
    (one,) = [text for name, text in findings(comparison(early[:1])) if name.startswith("Early")]
    assert "in Breakout, 1 of 1 run, where the last episode ended after 64% of the steps." in one
