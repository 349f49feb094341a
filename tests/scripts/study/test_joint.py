"""scripts/study/joint.py: p in one study's family and in several studies' together."""

from pathlib import Path

import pytest
from script_modules import load_script

joint = load_script("study/joint.py")
RESULTS = Path(__file__).parents[3] / "scripts" / "results"
LOW, HIGH = [1.0, 2.0, 3.0, 4.0, 5.0], [4.5, 5.5, 6.5, 7.5, 8.5]


@pytest.mark.parametrize("study", ["study_a", "study_e", "study_f", "study_g"])
def test_a_study_alone_has_the_p_of_its_report(study: str) -> None:
    reported = {
        (row["env"], row["variant"], row["baseline"]): float(row["p_adjusted"])
        for row in joint.read(RESULTS / study / "verdicts.csv")
    }
    found = joint.compared(RESULTS / study)
    alone, together = joint.adjusted([found])
    assert alone == together
    assert reported == pytest.approx(
        {(each.game, each.variant, each.baseline): p for each, p in zip(found, alone, strict=True)},
        rel=1e-3,
    )


def test_p_counts_the_comparisons_of_all_studies() -> None:
    clear = joint.Compared("study_a", "MinAtar/Breakout-v1", "weight", "none", HIGH, LOW)
    same = joint.Compared("study_e", "MinAtar/Asterix-v1", "batch", "none", LOW, LOW)
    alone, together = joint.adjusted([[clear], [same, same]])
    assert alone == pytest.approx([clear.p, 1, 1])
    assert together == pytest.approx([3 * clear.p, 1, 1])
    assert list(joint.table([[clear], [same]]))[2:] == [
        "| study_a | Breakout | `weight` minus `none` | 0.0081 | 0.016 | 24 of 25 |",
        "| study_e | Asterix | `batch` minus `none` | 1 | 1 | 10 of 25 |",
    ]


def test_a_run_that_did_not_finish_is_not_compared(tmp_path: Path) -> None:
    row = "{},{},{},{}\n".format
    lines = [row("MinAtar/Breakout-v1", norm, "yes", x) for norm in ("none", "weight") for x in LOW]
    unfinished = row("MinAtar/Breakout-v1", "weight", "no", 100)
    text = "".join([row("env", "norm", "done", "final_return"), *lines, unfinished])
    (tmp_path / "scores.csv").write_text(text)
    pair = "final_return,MinAtar/Breakout-v1,weight,none"
    (tmp_path / "verdicts.csv").write_text(f"measure,env,variant,baseline\n{pair}\n")
    (found,) = joint.compared(tmp_path)
    assert (found.own, found.other) == (LOW, LOW)
