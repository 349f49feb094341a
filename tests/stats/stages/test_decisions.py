"""Studies in stages: their error, their power, their runs, and the same decisions made by hand."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from wnrl.stats.difference import least_p, welch
from wnrl.stats.intervals import group
from wnrl.stats.multiple_tests import holm
from wnrl.stats.simultaneous import LAWS
from wnrl.stats.stages.decisions import (
    OUT_OF_REACH_CHANCE,
    Array,
    Decision,
    Decisions,
    Look,
    Stages,
    decide,
    plan_stages,
)
from wnrl.stats.verdict import LEVEL, Verdict

LAW_NAMES = ("normal", "skewed", "collapsing")
QUICK, MANY = 600, 4_000  # studies
WITHIN = 0.05  # by how much power and runs may differ between two simulations


class Studies(NamedTuple):
    """Outcomes of many studies of K variants against a baseline."""

    decisions: Decisions  # (studies, K)
    runs: Array  # (studies,) including those of the baseline


def in_stages(plan: Stages, scores: Array, margin: float = math.nan) -> Studies:
    """Run studies in stages.

    Args:
        plan: the stages.
        scores: (studies, K + 1, seeds); the baseline comes first.
        margin: largest difference that does not matter.
    """
    shape = len(scores), scores.shape[1] - 1
    decisions = np.full(shape, Decision.GO_ON, dtype=np.int8)
    runs = np.zeros(len(scores))
    seeds_before = 0
    for stage, seeds in enumerate(plan.seeds):
        going = (decisions == Decision.GO_ON).sum(axis=-1)
        runs += (going + (going > 0)) * (seeds - seeds_before)
        seeds_before = seeds
        found = welch(group(scores[:, 1:, :seeds]), group(scores[:, :1, :seeds]))
        least, margins = np.full(shape, least_p(seeds, seeds)), np.full(shape, margin)
        look = Look(found.value, found.error, found.df, least, margins)
        decisions = decide(plan, stage, look, decisions)
    return Studies(decisions, runs)


def claims(studies: Studies) -> Array:
    """Return whether each comparison ended with a difference: (studies, K)."""
    return np.isin(studies.decisions, [Decision.BETTER, Decision.WORSE])


def at_most(level: float, studies: int) -> float:
    """Return the level and three standard errors of a share of so many studies."""
    return level + 3 * math.sqrt(level * (1 - level) / studies)


def test_stages_are_about_equally_long() -> None:
    assert plan_stages(5, 20, 3).seeds == (5, 9, 12, 16, 20)
    assert plan_stages(3, 5, 3).seeds == (3, 4, 5)
    assert plan_stages(4, 4, 3).seeds == (4,)


def test_stages_with_too_few_seeds_for_the_family_claim_nothing() -> None:
    assert least_p(3, 3) == pytest.approx(2 / 64)
    assert plan_stages(3, 20, 1).skipped == {0}
    assert plan_stages(5, 20, 1).skipped == frozenset()
    assert plan_stages(5, 20, 14).skipped == {0}


def look(value: list[float], error: float, margin: float = math.nan, df: float = 20.0) -> Look:
    k = len(value)
    same = [np.full(k, x) for x in (error, df, 0.0, margin)]
    return Look(np.array(value), *same)


def fresh(k: int) -> Array:
    return np.zeros(k, dtype=np.int8)


def test_each_decision_by_hand() -> None:
    plan = Stages((5, 10), 4)
    found = decide(plan, 0, look([9.0, -9.0, 0.1, 1.9], 1.0, margin=3.0), fresh(4))
    assert found.tolist() == [Decision.BETTER, Decision.WORSE, Decision.WITHIN_MARGIN, 0]
    assert [Decision(x).verdict for x in found] == [
        Verdict.BETTER,
        Verdict.WORSE,
        Verdict.WITHIN_MARGIN,
        Verdict.UNDECIDED,
    ]


def test_a_decision_is_final() -> None:
    plan = Stages((5, 10), 2)
    before = np.array([Decision.OUT_OF_REACH, Decision.WITHIN_MARGIN], dtype=np.int8)
    assert decide(plan, 1, look([99.0, 99.0], 1.0), before).tolist() == before.tolist()


def test_without_any_spread_nothing_is_decided() -> None:
    nothing = look([3.0, 0.0], math.nan, margin=1.0, df=math.nan)
    assert decide(Stages((5, 10), 2), 0, nothing, fresh(2)).tolist() == [0, 0]


def test_a_small_difference_in_a_wide_spread_is_out_of_reach_but_not_at_the_last_stage() -> None:
    plan = Stages((18, 20), 1)
    assert decide(plan, 0, look([0.1], 1.0), fresh(1)).tolist() == [Decision.OUT_OF_REACH]
    assert decide(plan, 1, look([0.1], 1.0), fresh(1)).tolist() == [Decision.GO_ON]
    # the same difference is within reach of a margin that is wide enough
    plan = Stages((10, 20), 1)
    assert decide(plan, 0, look([0.1], 1.0, margin=1.9), fresh(1)).tolist() == [Decision.GO_ON]


def test_a_claim_leaves_its_level_to_the_others() -> None:
    plan = Stages((10,), 3)
    levels = [plan.difference_level(0, left) for left in (1, 2, 3)]
    assert levels == pytest.approx([0.05, 0.025, 0.05 / 3], rel=1e-6)
    t = [stats.t.isf(p / 2, 20) for p in (0.016, 0.024, 0.06)]
    assert decide(plan, 0, look(t, 1.0), fresh(3)).tolist() == [1, 1, 0]
    t = [stats.t.isf(p / 2, 20) for p in (0.018, 0.024, 0.06)]
    assert decide(plan, 0, look(t, 1.0), fresh(3)).tolist() == [0, 0, 0]


def test_a_variant_within_the_margin_leaves_its_level_to_the_others() -> None:
    plan = Stages((5, 10), 2)
    levels = [plan.equivalence_level(1, left) for left in (1, 2)]
    near = 3 - stats.t.isf(sum(levels) / 2, 20)  # shown at the level of the last one only
    one_shown = np.array([Decision.WITHIN_MARGIN, Decision.GO_ON], dtype=np.int8)
    results = look([0.0, near], 1.0, margin=3.0)
    assert decide(plan, 1, results, one_shown).tolist() == [3, 3]
    one_gone = np.array([Decision.OUT_OF_REACH, Decision.GO_ON], dtype=np.int8)
    assert decide(plan, 1, results, one_gone).tolist() == [4, 0]


def test_scores_that_may_have_collapsed_by_chance_claim_nothing() -> None:
    results = look([9.0], 0.01)._replace(least_p=np.array([0.051]))
    assert decide(Stages((5,), 1), 0, results, fresh(1)).tolist() == [Decision.GO_ON]


def share_with_a_claim(k: int, law: int, seeds: tuple[int, int], studies: int) -> float:
    scores = LAWS[law](np.random.default_rng(law), (studies, k + 1, seeds[1]))
    return float(claims(in_stages(plan_stages(*seeds, k), scores)).any(axis=-1).mean())


@pytest.mark.parametrize("law", range(3), ids=LAW_NAMES)
@pytest.mark.parametrize("k", [1, 5])
def test_at_most_5_percent_of_studies_name_a_difference(k: int, law: int) -> None:
    assert share_with_a_claim(k, law, (3, 20), QUICK) <= at_most(LEVEL, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("law", range(3), ids=LAW_NAMES)
@pytest.mark.parametrize("k", [1, 5, 14])
@pytest.mark.parametrize("seeds", [(3, 20), (5, 20), (3, 6), (10, 12)])
def test_at_most_5_percent_of_many_studies_name_a_difference(
    k: int, law: int, seeds: tuple[int, int]
) -> None:
    assert share_with_a_claim(k, law, seeds, MANY) <= at_most(LEVEL, MANY)


def test_scores_that_only_learn_or_fail_name_no_difference_too_often() -> None:
    """Two equal variants may fall apart into one that learns and one that does not."""
    scores = (np.random.default_rng(0).random((QUICK, 2, 20)) < 0.5).astype(float)
    found = claims(in_stages(plan_stages(3, 20, 1), scores))
    assert 0 < found.mean() <= at_most(LEVEL, QUICK)


def test_at_most_5_percent_of_studies_miss_a_difference_as_large_as_the_margin() -> None:
    scores = np.random.default_rng(0).normal(size=(QUICK, 4, 20))
    scores[:, 1:] += 1.5
    missed = in_stages(plan_stages(5, 20, 3), scores, 1.5).decisions == Decision.WITHIN_MARGIN
    assert missed.any(axis=-1).mean() <= at_most(LEVEL, QUICK)
    scores[:, 1:] -= 1.5
    shown = in_stages(plan_stages(5, 20, 3), scores, 1.5).decisions == Decision.WITHIN_MARGIN
    assert shown.mean() > 0.9


@pytest.mark.parametrize(
    ("shift", "share_of_power", "saved"), [(0.0, 0.0, 0.28), (1.3, 0.94, 0.4), (2.0, 0.99, 0.6)]
)
def test_most_of_the_power_of_a_fixed_design_needs_far_fewer_runs(
    shift: float, share_of_power: float, saved: float
) -> None:
    scores = np.random.default_rng(3).normal(size=(QUICK, 2, 20))
    scores[:, 1:] += shift
    staged = in_stages(plan_stages(5, 20, 1), scores)
    fixed = holm(welch(group(scores[:, 1:]), group(scores[:, :1])).safe_p()) <= LEVEL
    assert claims(staged).mean() >= share_of_power * fixed.mean()
    assert 1 - staged.runs.mean() / 40 >= saved


def by_hand(plan: Stages, scores: Array, margin: float) -> tuple[list[int], int]:
    """Decide one study as `decide` does, in plain loops with scipy's tests."""
    baseline, variants = scores[0], scores[1:]
    decisions: list[int] = [Decision.GO_ON] * len(variants)
    runs = 0
    for stage, n in enumerate(plan.seeds):
        going = [k for k, x in enumerate(decisions) if x == Decision.GO_ON]
        new = n - (plan.seeds[stage - 1] if stage else 0)
        runs += new * (len(going) + bool(going))
        tests = {k: stats.ttest_ind(variants[k][:n], baseline[:n], equal_var=False) for k in going}
        values = {k: variants[k][:n].mean() - baseline[:n].mean() for k in going}
        errors = {k: values[k] / tests[k].statistic for k in going}
        least = 2 * 0.5 ** (2 * n)
        p = {k: max(tests[k].pvalue, least) for k in going}
        left = len(variants) - sum(x in (Decision.BETTER, Decision.WORSE) for x in decisions)
        for k in sorted(going, key=p.__getitem__):
            if p[k] > plan.difference_level(stage, left):
                break
            decisions[k] = Decision.BETTER if values[k] > 0 else Decision.WORSE
            left -= 1
        same_left = len(variants) - decisions.count(Decision.WITHIN_MARGIN)
        outside = {k: stats.t.sf((margin - abs(values[k])) / errors[k], tests[k].df) for k in going}
        for k in sorted(going, key=outside.__getitem__):
            if outside[k] > plan.equivalence_level(stage, same_left):
                break
            if decisions[k] == Decision.GO_ON:
                decisions[k] = Decision.WITHIN_MARGIN
            same_left -= 1
        if n == plan.seeds[-1]:
            break
        same_left = len(variants) - decisions.count(Decision.WITHIN_MARGIN)
        needed = stats.norm.isf(plan.difference_level(-1, max(1, left)) / 2)
        within = stats.norm.isf(plan.equivalence_level(-1, max(1, same_left)))
        t = n / plan.seeds[-1]
        for k in going:
            if decisions[k] != Decision.GO_ON:
                continue
            last = stats.t(tests[k].df, values[k], errors[k] * math.sqrt(1 - t))
            bound = needed * errors[k] * math.sqrt(t)
            inner = margin - within * errors[k] * math.sqrt(t)
            chance = last.sf(bound) + last.cdf(-bound)
            chance += last.cdf(inner) - last.cdf(-inner) if inner > 0 else 0
            if chance < OUT_OF_REACH_CHANCE:
                decisions[k] = Decision.OUT_OF_REACH
    return decisions, runs


EFFECTS = np.array([0.0, 0.0, 0.8, 1.5, -1.2])[:, None]


def test_the_decisions_are_those_made_by_hand_with_scipy() -> None:
    plan = plan_stages(4, 12, 4)
    scores = np.random.default_rng(1).normal(size=(40, 5, 12)) + EFFECTS
    staged = in_stages(plan, scores, 1.2)
    expected = [by_hand(plan, study, 1.2) for study in scores]
    assert staged.decisions.tolist() == [decisions for decisions, _ in expected]
    assert staged.runs.tolist() == [runs for _, runs in expected]
    assert set(np.unique(staged.decisions)) == set(range(5))  # each of them occurs


@pytest.mark.slow
def test_power_and_runs_are_those_of_an_independent_simulation() -> None:
    plan = plan_stages(4, 12, 4)
    scores = np.random.default_rng(2).normal(size=(6_000, 5, 12)) + EFFECTS
    staged = in_stages(plan, scores, 1.2)
    others = np.random.default_rng(3).normal(size=(1_500, 5, 12)) + EFFECTS
    expected = [by_hand(plan, study, 1.2) for study in others]
    right = np.mean([decisions[2] == Decision.BETTER for decisions, _ in expected])
    assert (staged.decisions[:, 2] == Decision.BETTER).mean() == pytest.approx(right, rel=WITHIN)
    assert staged.runs.mean() == pytest.approx(np.mean([x for _, x in expected]), rel=WITHIN)


PER_STAGE, STAGES, STUDIES = 5, 4, 15
WORDS = {Decision.BETTER: "larger", Decision.WORSE: "smaller"}


def decisions_of_adastop(scores: Array) -> list[str]:
    """Return the decisions of adastop 0.1.3 (Mathieu et al. 2023) about each variant of a study.

    Its test permutes the runs of each stage, and it ends no comparison for lack of hope. It
    compares the absolute difference with the permutations' signed one, so that a study without a
    difference names one with twice its `alpha`: 2.5% there is our 5%.
    """
    adastop = pytest.importorskip("adastop")
    pairs = np.array([(k, 0) for k in range(1, len(scores))])
    comparator = adastop.MultipleAgentsComparator(
        n=PER_STAGE, K=STAGES, B=1_000, alpha=0.025, comparisons=pairs, seed=0
    )
    for stage in range(1, STAGES + 1):
        seen = {str(k): of_variant[: PER_STAGE * stage] for k, of_variant in enumerate(scores)}
        comparator.partial_compare(seen, verbose=False)
        if comparator.is_finished:
            break
    return [comparator.decisions[str(pair)] for pair in pairs]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("effects", "agreement"),
    [([2.0], 1.0), ([-3.0], 1.0), ([0.0], 0.9), ([3.0, 3.0], 1.0), ([0.0, 0.0], 0.9)],
    ids=str,
)
def test_the_decisions_are_those_of_adastop_where_they_are_clear(
    effects: list[float], agreement: float
) -> None:
    scores = np.random.default_rng(4).normal(size=(STUDIES, len(effects) + 1, 20))
    scores[:, 1:] += np.array(effects)[:, None]
    seeds = tuple(PER_STAGE * stage for stage in range(1, STAGES + 1))
    staged = in_stages(Stages(seeds, len(effects)), scores).decisions
    ours = [[WORDS.get(Decision(x), "equal") for x in row] for row in staged]
    theirs = [decisions_of_adastop(study) for study in scores]
    same = np.array(ours) == np.array(theirs)
    assert same.mean() >= agreement
