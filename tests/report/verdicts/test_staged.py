"""A report of a staged comparison has the verdicts of its stages and no others."""

import dataclasses
import html
import json
import math
from pathlib import Path
from typing import Any

import pytest
from made_comparisons import made

from wnrl._settings import UsageError
from wnrl.report.comparison import Obstacle
from wnrl.report.find_runs import read_record
from wnrl.report.page import render_page
from wnrl.report.sentences import differences_note, findings
from wnrl.report.summary import summary_markdown
from wnrl.report.verdicts.sentences import contrast_sentence
from wnrl.report.verdicts.staged import StagedDecision, StagedRecord, with_stages
from wnrl.stats.intervals import Interval
from wnrl.stats.power import power
from wnrl.stats.student_t import two_sided_t
from wnrl.stats.verdict import Verdict


def decision(variant: str, verdict: Verdict, p: float | None = 0.5) -> StagedDecision:
    spread = 2.0 if p is not None else None
    return StagedDecision(
        env="CartPole-v1",
        variant=variant,
        seeds=5,
        verdict=verdict.name,
        final=True,
        value=8.0,
        error=spread,
        df=8.0 if spread else None,
        p=p,
        levels=[0.02, 0.01],
    )


RECORD = StagedRecord(
    [3, 5, 8],
    ["weight", "layer"],
    ["CartPole-v1"],
    0.1,
    1_000,
    [decision("weight", Verdict.UNDECIDED), decision("layer", Verdict.BETTER, 0.004)],
)
NORMS = ("none", "weight", "layer")


def test_without_stages_nothing_changes() -> None:
    comparison = made(norms=NORMS)
    assert with_stages(comparison, None) is comparison


def test_the_verdicts_p_and_intervals_are_those_of_the_stages() -> None:
    comparison = made(norms=NORMS, together=True, envs=("CartPole-v1", "Acrobot-v1"))
    assert any(x.verdict is not Verdict.UNDECIDED for x in comparison.contrasts)
    staged = with_stages(comparison, RECORD)
    found = {(x.env, x.variant.label): x for x in staged.contrasts}
    weight, layer = (found["CartPole-v1", norm] for norm in NORMS[1:])
    assert (weight.verdict, weight.p) == (Verdict.UNDECIDED, 0.5)
    assert (layer.verdict, layer.p) == (Verdict.BETTER, 0.004)
    halves = [2 * two_sided_t(1 - level, 8) for level in (0.02, 0.01)]
    assert layer.difference == Interval(8.0, 8.0 - halves[0], 8.0 + halves[0])
    assert layer.simultaneous == Interval(8.0, 8.0 - halves[1], 8.0 + halves[1])
    # nothing was decided there, so nothing is claimed
    assert found["Acrobot-v1", "layer"].verdict is Verdict.UNDECIDED


def test_nothing_is_claimed_about_what_the_stages_did_not_test() -> None:
    comparison = made(norms=NORMS, together=True, envs=("CartPole-v1", "Acrobot-v1"))
    staged = with_stages(comparison, RECORD)
    assert staged.areas == ()
    assert staged.aggregate is not None
    assert staged.aggregate.contrasts == ()
    sentences = [x.sentence for x in findings(staged)]
    assert sum(" is better than " in sentence for sentence in sentences) == 1
    assert not any("optimality gap" in sentence for sentence in sentences)
    assert "decided after 3, 5 and 8 seeds, with 5% over all stages" in summary_markdown(staged)


def test_the_sentence_counts_the_seeds_and_what_all_stages_could_find() -> None:
    staged = with_stages(made(norms=NORMS), RECORD)
    (weight, layer) = (x.sentence for x in findings(staged)[-2:][::-1])
    assert layer.startswith("layer is better than none: final return +8.0 [+2.2, +13.8] (95% ")
    assert "interval over all stages; p = 0.004 adjusted for 2 comparisons and all st" in layer
    assert layer.endswith(" It was decided after 5 of at most 8 seeds of each.")
    assert "weight against none is undecided" in weight
    assert "With all 8 seeds this study detects a difference of " in weight
    assert weight.endswith(
        " It ended after 5 seeds of each, because 8 would hardly decide it either."
    )
    going_on = dataclasses.replace(RECORD.decisions[0], final=False)
    at_the_end = dataclasses.replace(RECORD.decisions[0], seeds=8)
    for changed, ending in (
        (going_on, "Its stages go on: so far they have 5 of at most 8 seeds of each."),
        (at_the_end, "It ended after all 8 seeds of each."),
    ):
        record = dataclasses.replace(RECORD, decisions=[changed])
        staged = with_stages(made(norms=NORMS[:2]), record)
        assert findings(staged)[-1].sentence.endswith(ending)


def test_detectable_difference_and_seeds_are_those_of_the_last_stage() -> None:
    weight, _ = with_stages(made(norms=NORMS), RECORD).contrasts
    level = RECORD.plan.difference_level(2, 2)
    assert level < 0.025 / 2  # a test at a fixed number of seeds would have 2.5%
    error, df = 2.0 * math.sqrt(5 / 8), 8 * 7 / 4
    assert power(weight.detectable, error, df, level) == pytest.approx(0.8, abs=1e-4)
    assert weight.seeds_needed is not None
    chances = [
        power(8.0, 2.0 * math.sqrt(5 / n), 2 * (n - 1), level)
        for n in (weight.seeds_needed - 1, weight.seeds_needed)
    ]
    assert chances[0] < 0.8 <= chances[1]
    assert not weight.effect.bounded


def test_too_few_seeds_for_any_stage_are_named() -> None:
    record = dataclasses.replace(
        RECORD, seeds=[3], decisions=[decision("weight", Verdict.UNDECIDED)]
    )
    contrast, *_ = with_stages(made(norms=NORMS), record).contrasts
    assert contrast.obstacle is Obstacle.FAMILY
    sentence = contrast_sentence(contrast)
    assert "With at most 3 seeds in stages for 2 comparisons, no difference could be shown" in (
        sentence
    )


def test_the_note_below_the_table_is_about_stages_or_about_fixed_seeds() -> None:
    fixed = made(norms=NORMS)
    assert differences_note(fixed).startswith("Difference: of the means, with Welch's 95% interval")
    staged = with_stages(fixed, RECORD)
    note = differences_note(staged)
    assert note.startswith("Seeds were added in stages, to 3, 5 and 8 per variant")
    assert "with 8 seeds, finds in 80% of cases" in note
    for text in (summary_markdown(staged), html.unescape(render_page(staged, [], []))):
        assert note in text
        assert "Bonferroni" not in text
        assert "Area under the curve (secondary)" not in text


def test_without_spread_there_is_no_interval() -> None:
    record = StagedRecord(
        [3], ["weight"], ["CartPole-v1"], 0.1, 1_000, [decision("weight", Verdict.UNDECIDED, None)]
    )
    (contrast,) = with_stages(made(norms=NORMS[:2]), record).contrasts
    assert not contrast.difference.bounded
    assert contrast.p != pytest.approx(contrast.p)


KEPT = {
    "sweep": [],
    "runs": {},
    "stages": dataclasses.asdict(RECORD),
}


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text(json.dumps(KEPT))
    assert read_record(tmp_path).stages == RECORD


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verdict", "BEST"),
        ("levels", [0.05]),
        ("levels", [0.05, 1.0]),
        ("error", 0.0),
        ("df", -1.0),
        ("value", math.inf),
        ("p", math.nan),
        ("seeds", "5"),
        ("seeds", 1),
    ],
)
def test_a_decision_that_cannot_be_one_is_refused_in_one_line(
    tmp_path: Path, name: str, value: Any
) -> None:
    kept = json.loads(json.dumps(KEPT))
    kept["stages"]["decisions"][1][name] = value
    (tmp_path / "compare.json").write_text(json.dumps(kept))
    with pytest.raises(UsageError, match=r"compare.json cannot be read: .*stages.*; remove it"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seeds", [5, 5]), ("seeds", [0]), ("seeds", [1, 2, 3, 4, 5, 6]), ("variants", [])],
)
def test_a_plan_that_cannot_be_one_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    kept = json.loads(json.dumps(KEPT))
    kept["stages"][name] = value
    (tmp_path / "compare.json").write_text(json.dumps(kept))
    with pytest.raises(UsageError, match="these are no stages of a study; remove it"):
        read_record(tmp_path)


def test_stages_without_seeds_are_refused(tmp_path: Path) -> None:
    kept = json.loads(json.dumps(KEPT))
    kept["stages"]["seeds"] = []
    (tmp_path / "compare.json").write_text(json.dumps(kept))
    with pytest.raises(UsageError, match="stages: there are no seeds; remove it"):
        read_record(tmp_path)
