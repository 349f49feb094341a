"""The cost of a normalization: told where the runs did not disturb each other."""

import dataclasses

import pytest
from hand_comparisons import comparison, game, variant

from wnrl.config import replace
from wnrl.report.comparison import Comparison, Cost, VariantScores, has_cost
from wnrl.report.cost import with_cost


def of(norm: str, *times_ms: float | None, value: str = "a") -> VariantScores:
    """Return a variant whose seeds 1, 2, ... have these times of an update."""
    alone = (
        variant(norm, (0, 1), seeds=1, values=(value,), update_ms=time_ms).runs[0]
        for time_ms in times_ms
    )
    runs = (
        dataclasses.replace(run, config=replace(run.config, seed=seed))
        for seed, run in enumerate(alone, 1)
    )
    whole = variant(norm, (0, 1), values=(value,), cost=Cost(0.5, 3.0, 450.0))
    return dataclasses.replace(whole, runs=tuple(runs))


def study(*variants: VariantScores) -> Comparison:
    return comparison(game("Pong", *variants), swept=("x",))


def test_an_update_is_compared_with_none_of_the_same_seed_and_swept_value() -> None:
    of_both = study(
        of("none", 2, 2), of("none", 4, 4, value="b"), of("rms", 3, 3), of("rms", 5, 5, value="b")
    )
    # 1.5, 1.5, 1.25 and 1.25: logarithms 0.3143 +- 3.182 x 0.1053 / 2
    assert with_cost(of_both, 1).cost == (
        "Relative to none with the same seed, an update takes 1.37 [1.16, 1.62] times as long with "
        "rms (geometric mean over runs that trained one at a time, 95% interval)."
    )


def test_two_runs_have_a_ratio_without_an_interval_and_a_run_alone_has_none() -> None:
    found = with_cost(study(of("none", 2, 2, None), of("rms", 3, 3, 3, 3)), 1)
    assert "takes 1.5 times as long with rms (" in found.cost
    assert has_cost(found.games[0])


@pytest.mark.parametrize(
    ("variants", "at_a_time", "why"),
    [
        ([of("none", 2, 2), of("rms", 3, 3)], 2, "trained in parallel"),
        ([of("none", 2, 2), of("rms", 3, 3)], 0, "not recorded how many"),
        ([of("none", 2, 3.1), of("rms", 3, 3)], 1, "differ in speed"),
        ([of("none", 2), variant("rms", (0, 1), machine="another")], 1, "different machines"),
    ],
)
def test_disturbed_times_are_not_reported(
    variants: list[VariantScores], at_a_time: int, why: str
) -> None:
    found = with_cost(study(*variants), at_a_time)
    assert found.cost.startswith("Not measured: ")
    assert why in found.cost
    assert "--jobs 1" in found.cost
    assert not has_cost(found.games[0])
