"""Sentences that must come out of adversarial comparisons, from runs to words."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from made_results import STEPS, made_result

from wnrl.config import replace
from wnrl.report import analyze
from wnrl.report.comparison import Comparison, Question
from wnrl.report.run_result import Result
from wnrl.report.sentences import findings
from wnrl.report.summary import summary_markdown
from wnrl.stats.verdict import Verdict
from wnrl.train.storage.run_status import RunState

START = 0.0  # return of every run's first episodes


@pytest.fixture(autouse=True)
def _nothing_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyze, "reference_scores", lambda *_, **__: ())


def runs(norm: str, finals: Sequence[float], env: str = "toy/Catch", **given: Any) -> list[Result]:
    """Return a run per final return; each is that of one episode, so that no floor is known."""
    return [
        made_result([START] * 9 + [final], norm=norm, env=env, seed=seed, **given)
        for seed, final in enumerate(finals, 1)
    ]


def compared(*groups: Sequence[Result], question: Question | None = None) -> Comparison:
    results = [run for group in groups for run in group]
    return analyze.compare_runs(
        results, [], {}, [], np.random.default_rng(0), question=question or Question()
    )


def sentences(found: Comparison) -> list[str]:
    """Return the sentences about final returns in one game."""
    games = {game.env for game in found.games}
    return [x.sentence for x in findings(found) if x.subject in (*games, "Undecided")]


def only_sentence(found: Comparison) -> str:
    (sentence,) = sentences(found)
    return sentence


PLAIN = [100.0, 104.0, 98.0, 102.0, 96.0]


def test_a_difference_is_named_with_its_interval_family_and_runs() -> None:
    found = compared(runs("none", PLAIN), runs("weight", [150.0, 160.0, 140.0, 155.0, 145.0]))
    assert only_sentence(found) == (
        "weight is better than none: final return +50.0 [+40.3, +59.7] (95% interval; p = 0.002 "
        "adjusted for 1 comparison; 5 of 5 runs against 5 of 5)."
    )
    worse = compared(runs("none", PLAIN), runs("weight", [50.0, 60.0, 40.0, 55.0, 45.0]))
    assert only_sentence(worse).startswith("weight is worse than none: final return −50.0 [−59.7,")


def test_three_seeds_of_which_one_is_high_are_undecided() -> None:
    found = compared(runs("none", [20, 21, 22]), runs("weight", [33, 39, 57]))
    assert only_sentence(found) == (
        "weight against none is undecided: final return +22 [−9, +53] (95% interval; p = 0.092 "
        "adjusted for 1 comparison; 3 of 3 runs against 3 of 3). This study detects a difference "
        "of 40 with 80% power; the observed one would need about 5 seeds per variant."
    )


def test_half_of_the_seeds_dead_is_no_win() -> None:
    alive, dead = [400.0, 410.0, 390.0, 405.0, 395.0], [3.0, 5.0, 4.0, 2.0, 6.0]
    found = compared(runs("none", [100.0 + k for k in range(10)]), runs("weight", alive + dead))
    assert found.contrasts[0].verdict is Verdict.UNDECIDED
    assert only_sentence(found).startswith(
        "weight against none is undecided: final return +98 [−52, +247] (95% interval; p = 0.17"
    )


def test_half_of_the_runs_lost_is_no_win_although_the_others_are_better() -> None:
    lost = [
        dataclasses.replace(run, agent_steps=500, state=RunState.FAILED)
        for run in runs("weight", [400.0] * 10)[5:]
    ]
    finished = runs("weight", [400.0, 410.0, 390.0, 405.0, 395.0])
    found = compared(runs("none", [100.0 + k for k in range(10)]), finished, lost)
    assert only_sentence(found) == (
        "No claim about weight against none: final return +295.5 [+285.8, +305.2] among the "
        "finished runs (95% interval; p < 0.001 adjusted for 1 comparison; 5 of 10 runs (5 failed) "
        "against 10 of 10), but this does not hold if every lost run counts as the worst score "
        "seen in the game, untrained runs included."
    )
    one_lost = compared(runs("none", PLAIN * 2)[:5], finished, lost[:1])
    assert one_lost.contrasts[0].counts.asked == 6


def test_a_claim_that_survives_the_worst_score_is_made() -> None:
    many = runs("weight", [400.0 + k for k in range(10)])
    (lost,) = [
        dataclasses.replace(run, agent_steps=500, state=RunState.DIVERGED)
        for run in runs("weight", [0.0] * 11)[10:]
    ]
    found = compared(runs("none", [100.0 + k for k in range(10)]), many, [lost])
    assert "is better than none" in only_sentence(found)
    assert "10 of 11 runs (1 diverged) against 10 of 10" in only_sentence(found)


def test_one_variant_that_diverged_has_no_claim() -> None:
    lost = [
        dataclasses.replace(run, agent_steps=100, state=RunState.DIVERGED)
        for run in runs("weight", [1.0] * 5)
    ]
    found = compared(runs("none", PLAIN), lost)
    assert only_sentence(found) == (
        "No claim about weight against none: no finished run of both (0 of 5 runs (5 diverged) "
        "against 5 of 5)."
    )


def test_equal_seeds_are_no_certainty() -> None:
    found = compared(runs("none", [100.0] * 5), runs("weight", [101.0] * 5))
    assert only_sentence(found) == (
        "No claim about weight against none: final return +1.0, but all scores of each are equal "
        "and their episodes show no spread, so nothing tells how much other seeds would differ "
        "(5 of 5 runs against 5 of 5)."
    )


def test_five_seeds_all_at_almost_the_lowest_score_are_undecided() -> None:
    def pong(norm: str, last: Sequence[float]) -> list[Result]:
        # The last ten of a hundred episodes are the final window.
        return [
            made_result([-21.0] * 90 + list(last), norm=norm, env="Pong", seed=seed)
            for seed in range(1, 6)
        ]

    found = compared(pong("none", [-21.0] * 10), pong("weight", [-21.0] * 9 + [-20.0]))
    assert only_sentence(found) == (
        "weight against none is undecided: final return +0.10 [−0.05, +0.25] (95% interval; "
        "p = 0.15 adjusted for 1 comparison; 5 of 5 runs against 5 of 5). This study detects "
        "a difference of 0.2 with 80% power; the observed one would need about 17 seeds per "
        "variant."
    )


def test_a_preset_that_sets_other_rates_is_named_next_to_the_finding() -> None:
    found = compared(
        runs("none", PLAIN, preset="paper"),
        runs("weight", [150.0, 160.0, 140.0, 155.0, 145.0], preset="paper"),
    )
    assert only_sentence(found).endswith(
        "The two also differ in --init data vs default, --init-weights normal vs he, "
        "--learning-rate 0.0003 vs 0.0001, so this is not the effect of the normalization alone."
    )
    (scope,) = [x.sentence for x in findings(found) if "learning rate" in x.subject]
    assert scope == (
        "The variants do not learn at one rate: none 0.0001, weight 0.0003. A difference between "
        "them is that of normalization and learning rate together."
    )


def test_one_learning_rate_is_named() -> None:
    found = compared(runs("none", PLAIN), runs("weight", PLAIN))
    (scope,) = [x.sentence for x in findings(found) if x.subject == "One learning rate"]
    assert scope == (
        "All variants learn with --learning-rate 0.001. The comparison holds at this rate; each "
        "variant's best rate may be another."
    )


def test_a_run_that_is_shorter_than_the_others_is_lost() -> None:
    short = [
        dataclasses.replace(run, agent_steps=STEPS // 2) for run in runs("weight", [300.0] * 3)
    ]
    found = compared(runs("none", PLAIN), runs("weight", [120.0, 130.0, 125.0]), [
        dataclasses.replace(x, config=replace(x.config, seed=x.config.run.seed + 3)) for x in short
    ])  # fmt: skip
    assert "3 of 6 runs (3 unfinished) against 5 of 5" in only_sentence(found)
    assert only_sentence(found).startswith("No claim about weight against none")


def test_no_difference_larger_than_the_margin_is_a_verdict() -> None:
    many = [100.0 + 0.5 * (k % 5) for k in range(10)]
    found = compared(runs("none", many), runs("weight", [x + 0.1 for x in many]))
    assert only_sentence(found) == (
        "weight and none do not differ by more than the margin of 10: final return +0.10 [−0.60, "
        "+0.80] (95% interval; p = 0.77 adjusted for 1 comparison; 10 of 10 runs against 10 of 10)."
    )
    narrow = Question(margin=0.001)
    undecided = compared(
        runs("none", many), runs("weight", [x + 0.1 for x in many]), question=narrow
    )
    assert undecided.contrasts[0].verdict is Verdict.UNDECIDED


def test_a_game_in_which_the_baseline_learned_nothing_has_no_margin() -> None:
    found = compared(runs("none", [START] * 5), runs("weight", [0.1, 0.2, 0.1, 0.2, 0.1]))
    assert np.isnan(found.contrasts[0].margin)
    assert found.aggregate is None


def test_a_game_without_human_score_counts_relative_to_its_baseline() -> None:
    none = [*runs("none", PLAIN), *runs("none", PLAIN, env="CartPole-v1")]
    better = [x + 50 for x in PLAIN]
    found = compared(none, runs("weight", better), runs("weight", better, env="CartPole-v1"))
    assert found.aggregate is not None
    assert found.aggregate.baseline_normalized == ("toy/Catch", "CartPole-v1")
    (contrast,) = found.aggregate.contrasts
    assert contrast.iqm.value == pytest.approx(0.5, abs=0.01)
    (sentence,) = [x.sentence for x in findings(found) if x.subject == "2 games together"]
    assert sentence.startswith("weight is better than none: normalized interquartile mean +0.50")
    assert "In toy/Catch and CartPole-v1" in summary_markdown(found)


@pytest.mark.slow
def test_fifteen_equal_variants_name_no_difference_and_say_how_many_seeds_could() -> None:
    generator = np.random.default_rng(3)
    norms = ["none", "weight", "layer", "batch", "rms", "group", "mean", "spectral", "nap",
             "projection", "weight-mean", "batch-renorm", "layer-plain", "layer-channel",
             "weight-standardization"]  # fmt: skip
    groups = [runs(norm, generator.normal(100, 10, 3).tolist()) for norm in norms]
    found = compared(*groups)
    assert {x.verdict for x in found.contrasts} == {Verdict.UNDECIDED}
    assert only_sentence(found) == (
        "14 of 14 comparisons of final return are undecided; the table of differences has their "
        "numbers."
    )


def test_few_seeds_in_a_family_cannot_show_any_difference() -> None:
    found = compared(
        runs("none", [1.0, 2.0, 3.0]),
        runs("weight", [101.0, 102.0, 103.0]),
        runs("layer", [101.0, 102.0, 103.0]),
    )
    assert sentences(found)[0] == (
        "weight against none is undecided: final return +100.0 [+97.7, +102.3] (95% interval; p = "
        "0.062 adjusted for 2 comparisons; 3 of 3 runs against 3 of 3). With so few seeds for 2 "
        "comparisons, no difference could be shown, however large; it takes at least 4 seeds "
        "per variant."
    )


def test_two_seeds_have_no_claim() -> None:
    found = compared(runs("none", PLAIN), runs("weight", [150.0, 160.0]))
    assert only_sentence(found) == (
        "No claim about weight against none: at least 3 finished runs of each are needed (2 of 2 "
        "runs against 5 of 5)."
    )


def test_without_the_baseline_every_pair_is_compared_and_it_is_said() -> None:
    found = compared(runs("weight", PLAIN), runs("layer", PLAIN), runs("batch", PLAIN))
    (scope,) = [x.sentence for x in findings(found) if x.subject == "Every pair"]
    assert scope.startswith("There is no run of the baseline none to compare with, so every two")
    pairs = [(x.variant.label, x.baseline.label) for x in found.contrasts]
    assert pairs == [("layer", "weight"), ("batch", "weight"), ("batch", "layer")]
    assert {x.family for x in found.contrasts} == {3}


def test_another_baseline_is_compared_with() -> None:
    found = compared(
        runs("none", PLAIN), runs("weight", PLAIN), question=Question(baseline="weight")
    )
    assert [(x.variant.label, x.baseline.label) for x in found.contrasts] == [("none", "weight")]


def test_runs_that_were_rolled_back_are_named() -> None:
    first, *others = runs("weight", PLAIN)
    found = compared(
        runs("none", PLAIN), [dataclasses.replace(first, rollbacks=("loss is nan",)), *others]
    )
    (sentence,) = [x.sentence for x in findings(found) if x.subject == "Rolled back"]
    assert sentence.startswith("1 run met NaN or infinity and went on from a checkpoint with half")
    assert sentence.endswith("loss is nan.")


def test_the_summary_has_every_sentence_word_for_word() -> None:
    found = compared(runs("none", PLAIN), runs("weight", [150.0, 160.0, 140.0, 155.0, 145.0]))
    text = summary_markdown(found).replace("\\", "")
    for finding in findings(found):
        assert f"- {finding.subject}: {finding.sentence}\n".replace("\\", "") in text
