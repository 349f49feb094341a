"""Warnings about few seeds and sentences about costs, on handmade comparisons."""

import dataclasses

from hand_comparisons import comparison, game, variant

from wnrl.report.sentences import (
    evidence_sentence,
    evidence_sentences,
    game_warning,
    maximum_over_mean,
)


def test_few_seeds_are_one_sentence_or_one_for_each_set_of_games() -> None:
    few, enough = (
        game("Pong", variant("none", (0, 1), seeds=3)),
        game("Qbert", variant("none", (0, 1))),
    )
    warning = "3 seeds: differences are indicative only. Run at least 5."
    assert evidence_sentences(comparison(few)) == [warning]
    assert evidence_sentences(comparison(few, enough, dataclasses.replace(few, env="Hero"))) == [
        f"Pong and Hero: {warning}"
    ]
    assert evidence_sentences(comparison(enough)) == []
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
        "The maximum over evaluations is 2 to 5 above their mean."
    )
    assert maximum_over_mean(game("Pong", variant("none", (0, 10)))) == ""
