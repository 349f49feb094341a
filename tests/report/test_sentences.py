"""Sentences about handmade intervals."""

import dataclasses

from hand_comparisons import aggregate, comparison, game, variant

from wnrl.config import replace
from wnrl.report.comparison import Comparison, VariantScores, cost_baseline
from wnrl.report.sentences import (
    Finding,
    evidence_sentence,
    evidence_sentences,
    findings,
    game_warning,
    maximum_over_mean,
)


def only_sentence(of: Comparison) -> str:
    (finding,) = findings(of)
    return finding.sentence


def test_no_variant_is_the_highest_if_all_intervals_overlap() -> None:
    pong = game(
        "Pong", variant("none", (0, 10)), variant("weight", (10, 30)), variant("rms", (5, 12))
    )
    assert only_sentence(comparison(pong)) == (
        "The intervals of none, weight and rms overlap, so no difference is shown."
    )


def test_the_highest_is_named_with_those_it_overlaps() -> None:
    pong = game(
        "Pong",
        variant("none", (0, 10)),
        variant("weight", (20, 40)),
        variant("layer", (15, 25)),
        variant("batch", (11, 12)),
    )
    assert only_sentence(comparison(pong)) == (
        "weight has the highest mean final return, 30.00 [20.00, 40.00]. Its interval lies above "
        "those of none and batch. It overlaps that of layer, so no difference between the two is "
        "shown. Among the others, layer is above none, layer is above batch and batch is above "
        "none."
    )


def test_a_wide_highest_interval_does_not_hide_that_others_differ() -> None:
    pong = game(
        "Pong", variant("none", (0, 1)), variant("weight", (2, 3)), variant("batch", (-50, 60))
    )
    assert only_sentence(comparison(pong)) == (
        "batch has the highest mean final return, 5.00 [−50.00, 60.00]. Its interval overlaps "
        "those of none and weight, so no difference from these is shown. Among the others, weight "
        "is above none."
    )


def test_three_seeds_that_differ_are_called_indicative() -> None:
    pong = game("Pong", variant("none", (0, 1), seeds=5), variant("weight", (2, 3), seeds=3))
    assert only_sentence(comparison(pong)).endswith(
        "Its interval lies above that of none. With 3 seeds, this is indicative only."
    )


def test_two_seeds_conclude_nothing() -> None:
    pong = game("Pong", variant("none", (0, 1), seeds=5), variant("weight", (2, 3), seeds=2))
    assert only_sentence(comparison(pong)) == (
        "Nothing can be concluded: weight has fewer than 3 seeds."
    )
    pong = game("Pong", *pong.variants, variant("layer", (2, 3), seeds=1))
    assert "concluded: weight and layer have fewer than" in only_sentence(comparison(pong))
    pong = game("Pong", variant("none", (0, 1), seeds=1), variant("weight", None))
    assert only_sentence(comparison(pong)) == (
        "Nothing can be concluded: every variant has fewer than 3 seeds."
    )


def test_many_are_counted() -> None:
    steps = [variant("weight", (2.0 * k, 2.0 * k + 1), values=(str(k),)) for k in range(6)]
    assert only_sentence(comparison(game("Pong", *steps), swept=("lr",))).endswith(
        "Its interval lies above those of 5 others. Of all 15 pairs of intervals, 15 do not "
        "overlap."
    )


def test_one_variant_alone_is_not_compared() -> None:
    assert only_sentence(comparison(game("Pong", variant("none", (0, 1))))) == (
        "none has a mean final return of 0.500 [0.000, 1.000]. There is no variant to compare it "
        "with."
    )


def test_games_with_the_same_finding_share_it() -> None:
    same = variant("none", (0, 2)), variant("weight", (1, 3))
    none_here = variant("none", None), variant("weight", None)
    found = findings(
        comparison(game("Pong", *same), game("Qbert", *same), game("Hero", *none_here))
    )
    assert found == [
        Finding(
            "Pong and Qbert", "The intervals of none and weight overlap, so no difference is shown."
        )
    ]


def test_an_aggregate_has_the_coverage_of_its_intervals() -> None:
    games = game("Pong", variant("none", (0, 1))), game("Qbert", variant("none", (0, 1)))
    total = aggregate(["Pong", "Qbert"], {"none": (0.1, 0.2), "weight": (0.3, 0.5)})
    assert findings(comparison(*games, aggregate=total))[-1] == Finding(
        "2 games together",
        "weight has the highest human-normalized interquartile mean, 0.400 [0.300, 0.500]. Its "
        "interval lies above that of none. In simulated experiments of this size, such intervals "
        "contain the true value in 83 to 85% of cases instead of the nominal 95%.",
    )


def test_an_aggregate_of_a_game_with_two_seeds_concludes_nothing() -> None:
    games = game("Pong", variant("none", (0, 1))), game("Qbert", variant("none", (0, 1), seeds=2))
    total = aggregate(["Pong", "Qbert"], {"none": (0.1, 0.2), "weight": (0.3, 0.5)})
    found = findings(comparison(*games, aggregate=total))[-1]
    assert found.sentence == "Nothing can be concluded from so few seeds."


def test_a_cost_is_compared_with_none_with_the_same_swept_value() -> None:
    def of(norm: str, value: str, update_ms: float) -> VariantScores:
        return variant(norm, (0, 1), values=(value,), update_ms=update_ms)

    pong = game(
        "Pong", of("none", "a", 2), of("none", "b", 4), of("rms", "a", 3), of("rms", "b", 5)
    )
    assert findings(comparison(pong, swept=("x",)))[-1] == Finding(
        "Cost",
        "Relative to none with the same seed, an update takes 1.25 to 1.50 times as long with rms.",
    )


def test_a_cost_ranges_over_the_seeds_that_both_have() -> None:
    def of(norm: str, *times_ms: float | None) -> VariantScores:
        runs = (variant(norm, (0, 1), seeds=1, update_ms=time_ms).runs[0] for time_ms in times_ms)
        numbered = (
            dataclasses.replace(run, config=replace(run.config, seed=seed))
            for seed, run in enumerate(runs, 1)
        )
        return dataclasses.replace(variant(norm, (0, 1)), runs=tuple(numbered))

    pong = game("Pong", of("none", 2, 4, None, 1), of("rms", 3, 5, 9))
    assert findings(comparison(pong))[-1].sentence.endswith(
        "an update takes 1.25 to 1.50 times as long with rms."
    )


def test_a_cost_on_another_machine_has_no_baseline() -> None:
    plain, here = variant("none", (0, 1)), variant("rms", (0, 1))
    there = variant("layer", (0, 1), machine="another")
    pong = game("Pong", plain, here, there)
    assert [cost_baseline(x, pong) for x in pong.variants] == [None, plain, None]


def test_few_seeds_are_one_sentence_or_one_for_each_set_of_games() -> None:
    few, enough = (
        game("Pong", variant("none", (0, 1), seeds=3)),
        game("Qbert", variant("none", (0, 1))),
    )
    warning = "3 seeds: differences are indicative only. Run at least 5."
    assert evidence_sentences(comparison(few)) == [warning]
    assert evidence_sentences(comparison(few, enough, dataclasses.replace(few, env="Hero"))) == [
        f"Pong and Hero: {warning}",
        "Qbert: 5 or more seeds of each variant: the intervals of each game can be taken at face "
        "value.",
    ]
    assert evidence_sentences(comparison()) == ["No run has a score: nothing can be concluded."]


def test_a_warning_names_the_variants_that_have_fewer_seeds_than_others() -> None:
    none, one = variant("none", (0, 1)), variant("rms", (0, 1), seeds=1)
    assert game_warning(game("Pong", none, one, variant("layer", None))) == (
        "layer has no seeds: nothing can be concluded. Run at least 3."
    )
    assert game_warning(game("Pong", none, one, variant("layer", (0, 1), seeds=1))) == (
        "rms and layer have 1 seed: nothing can be concluded. Run at least 3."
    )
    assert game_warning(game("Pong", one)) == evidence_sentence(1)
    assert game_warning(game("Pong", none, variant("layer", (0, 1), seeds=7))) == ""


def test_fewer_than_five_seeds_need_a_warning() -> None:
    assert [evidence_sentence(seeds) for seeds in (0, 1, 2, 3, 4, 5, 50)] == [
        "0 seeds: nothing can be concluded. Run at least 3.",
        "1 seed: nothing can be concluded. Run at least 3.",
        "2 seeds: nothing can be concluded. Run at least 3.",
        "3 seeds: differences are indicative only. Run at least 5.",
        "4 seeds: differences are indicative only. Run at least 5.",
        "",
        "",
    ]


def test_the_maximum_over_evaluations_is_compared_with_their_mean() -> None:
    some = (
        variant("none", (0, 10), evaluations=(4, 9)),
        variant("weight", (0, 10), evaluations=(5, 7)),
    )
    assert maximum_over_mean(game("Pong", *some)) == (
        "The maximum over evaluations is 2.00 to 5.00 above their mean."
    )
    assert maximum_over_mean(game("Pong", variant("none", (0, 10)))) == ""
