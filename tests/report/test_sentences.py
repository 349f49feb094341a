"""Sentences that hand-made intervals allow, and those that they do not."""

import dataclasses

from hand_comparisons import aggregate, comparison, game, scored

from wnrl.config import replace
from wnrl.report.comparison import Comparison, Scored
from wnrl.report.sentences import Finding, findings, maximum_over_mean, plain_rival, verdicts


def said(of: Comparison) -> str:
    (finding,) = findings(of)
    return finding.sentence


def test_where_all_intervals_overlap_nobody_is_named_as_highest() -> None:
    pong = game("Pong", scored("none", (0, 10)), scored("weight", (10, 30)), scored("rms", (5, 12)))
    assert said(comparison(pong)) == (
        "The intervals of none, weight and rms overlap, so no difference is shown."
    )


def test_the_highest_is_named_with_those_it_is_not_shown_to_be_better_than() -> None:
    pong = game(
        "Pong",
        scored("none", (0, 10)),
        scored("weight", (20, 40)),
        scored("layer", (15, 25)),
        scored("batch", (11, 12)),
    )
    assert said(comparison(pong)) == (
        "weight has the highest mean final return, 30.00 [20.00, 40.00]: its interval lies above "
        "those of none and batch and overlaps that of layer, than which it is not shown to be "
        "better. Apart from it, layer stands above none, layer stands above batch and batch stands "
        "above none."
    )


def test_a_wide_highest_interval_does_not_hide_that_others_differ() -> None:
    pong = game(
        "Pong", scored("none", (0, 1)), scored("weight", (2, 3)), scored("batch", (-50, 60))
    )
    assert said(comparison(pong)) == (
        "batch has the highest mean final return, 5.00 [−50.00, 60.00]: its interval overlaps "
        "those of none and weight, than which it is not shown to be better. Apart from it, weight "
        "stands above none."
    )


def test_three_seeds_that_differ_are_called_indicative() -> None:
    pong = game("Pong", scored("none", (0, 1), seeds=5), scored("weight", (2, 3), seeds=3))
    assert said(comparison(pong)).endswith(
        "its interval lies above that of none. With 3 seeds that is indicative only."
    )


def test_of_two_seeds_nothing_is_said_but_that() -> None:
    pong = game("Pong", scored("none", (0, 1), seeds=5), scored("weight", (2, 3), seeds=2))
    assert said(comparison(pong)) == (
        "Nothing can be concluded, since weight has fewer than 3 seeds."
    )
    pong = game("Pong", *pong.scored, scored("layer", (2, 3), seeds=1))
    assert "since weight and layer have fewer than" in said(comparison(pong))
    pong = game("Pong", scored("none", (0, 1), seeds=1), scored("weight", None))
    assert said(comparison(pong)) == (
        "Nothing can be concluded, since every variant has fewer than 3 seeds."
    )


def test_many_are_counted() -> None:
    steps = [scored("weight", (2.0 * k, 2.0 * k + 1), values=(str(k),)) for k in range(6)]
    assert said(comparison(game("Pong", *steps), swept=("lr",))).endswith(
        "its interval lies above those of 5 others. Of all 15 pairs of intervals 15 do not overlap."
    )


def test_one_variant_alone_is_not_compared() -> None:
    assert said(comparison(game("Pong", scored("none", (0, 1))))) == (
        "none has a mean final return of 0.500 [0.000, 1.000], and there is nothing to hold it "
        "against."
    )


def test_games_of_which_the_same_holds_are_put_together() -> None:
    same = scored("none", (0, 2)), scored("weight", (1, 3))
    none_here = scored("none", None), scored("weight", None)
    found = findings(
        comparison(game("Pong", *same), game("Qbert", *same), game("Hero", *none_here))
    )
    assert found == [
        Finding(
            "Pong and Qbert", "The intervals of none and weight overlap, so no difference is shown."
        )
    ]


def test_an_aggregate_is_said_with_what_its_intervals_hold() -> None:
    games = game("Pong", scored("none", (0, 1))), game("Qbert", scored("none", (0, 1)))
    total = aggregate(["Pong", "Qbert"], {"none": (0.1, 0.2), "weight": (0.3, 0.5)})
    assert findings(comparison(*games, aggregate=total))[-1] == Finding(
        "2 games together",
        "weight has the highest human-normalized interquartile mean, 0.400 [0.300, 0.500]: its "
        "interval lies above that of none. Simulated, such intervals hold the truth in 83 to 85% "
        "of experiments; 95% is asked for.",
    )


def test_an_aggregate_of_a_game_with_two_seeds_concludes_nothing() -> None:
    games = game("Pong", scored("none", (0, 1))), game("Qbert", scored("none", (0, 1), seeds=2))
    total = aggregate(["Pong", "Qbert"], {"none": (0.1, 0.2), "weight": (0.3, 0.5)})
    found = findings(comparison(*games, aggregate=total))[-1]
    assert found.sentence == "Nothing can be concluded from so few seeds."


def test_a_cost_is_held_against_none_with_the_same_swept_value() -> None:
    def of(norm: str, value: str, update_ms: float) -> Scored:
        return scored(norm, (0, 1), values=(value,), update_ms=update_ms)

    pong = game(
        "Pong", of("none", "a", 2), of("none", "b", 4), of("rms", "a", 3), of("rms", "b", 5)
    )
    assert findings(comparison(pong, swept=("x",)))[-1] == Finding(
        "Cost",
        "An update takes, as a multiple of its time with none and the same seed, 1.25 to 1.50 with "
        "rms.",
    )


def test_a_cost_ranges_over_the_seeds_that_both_have() -> None:
    def of(norm: str, *times_ms: float | None) -> Scored:
        runs = (scored(norm, (0, 1), seeds=1, update_ms=time_ms).runs[0] for time_ms in times_ms)
        numbered = (
            dataclasses.replace(run, config=replace(run.config, seed=seed))
            for seed, run in enumerate(runs, 1)
        )
        return dataclasses.replace(scored(norm, (0, 1)), runs=tuple(numbered))

    pong = game("Pong", of("none", 2, 4, None, 1), of("rms", 3, 5, 9))
    assert findings(comparison(pong))[-1].sentence.endswith("same seed, 1.25 to 1.50 with rms.")


def test_a_cost_on_another_machine_is_held_against_nothing() -> None:
    plain, here = scored("none", (0, 1)), scored("rms", (0, 1))
    there = scored("layer", (0, 1), machine="another")
    pong = game("Pong", plain, here, there)
    assert [plain_rival(x, pong) for x in pong.scored] == [None, plain, None]


def test_the_verdict_is_one_sentence_or_one_for_each_set_of_games() -> None:
    few, enough = (
        game("Pong", scored("none", (0, 1), seeds=3)),
        game("Qbert", scored("none", (0, 1))),
    )
    assert verdicts(comparison(few)) == ["3 seeds, fewer than five: indicative only."]
    assert verdicts(comparison(few, enough, dataclasses.replace(few, env="Hero"))) == [
        "Pong and Hero: 3 seeds, fewer than five: indicative only.",
        "Qbert: 5 or more seeds of each: intervals of one game may be read as they stand.",
    ]
    assert verdicts(comparison()) == ["No run has a score: nothing can be concluded."]


def test_a_maximum_over_evaluations_is_shown_against_their_mean() -> None:
    some = (
        scored("none", (0, 10), evaluations=(4, 9)),
        scored("weight", (0, 10), evaluations=(5, 7)),
    )
    assert maximum_over_mean(game("Pong", *some)) == (
        "The maximum over evaluations stands 2.00 to 5.00 above their mean."
    )
    assert maximum_over_mean(game("Pong", scored("none", (0, 10)))) == ""
