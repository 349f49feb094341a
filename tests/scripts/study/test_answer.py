"""The pages of the study say what the committed results say, and these come from the runs."""

import csv
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from script_modules import load_script

from wnrl.report.number_format import compact, difference
from wnrl.stats.verdict import LEVEL

tables = load_script("study/tables.py")
archive = load_script("study/archive.py")
joint = load_script("study/joint.py")
norms = load_script("parity/sb3_norms.py")
ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "scripts" / "results" / "study_a"
VERDICTS = RESULTS / "verdicts.csv"
PAGE = (ROOT / "docs" / "answer.md").read_text()
DETAILS = (ROOT / "docs" / "study_details.md").read_text()


@pytest.mark.parametrize(
    ("study", "planned"), [("study_a", 36), ("study_e", 8), ("study_f", 15), ("study_g", 3)]
)
def test_the_pages_have_the_tables_of_the_verdicts_and_what_they_rest_on(
    study: str, planned: int
) -> None:
    rows = tables.read(RESULTS.parent / study / "verdicts.csv")
    assert len(rows) == planned
    assert "\n".join(tables.table(rows)) in (PAGE if study in {"study_a", "study_e"} else DETAILS)
    assert tables.counts(rows) in PAGE
    areas = tables.read(RESULTS.parent / study / "verdicts.csv", "area")
    assert "\n".join(tables.table(areas)) in DETAILS


@pytest.mark.parametrize(
    "name", ["init_data_small_heads.csv", "init_data_v_paper.csv", "study_a_repeated.csv"]
)
def test_the_details_have_the_runs_that_are_no_part_of_the_study(name: str) -> None:
    with (RESULTS.parent / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = [float(row[key]) for row in rows for key in row if key.startswith("final_return")]
    assert len(scores) >= 6
    for score in scores:
        assert re.search(rf"(?<![\d.,]){re.escape(compact(score))}(?!\.?\d)", DETAILS), score


def test_the_page_has_the_answers_of_studies_f_and_g() -> None:
    asked = [
        {
            row["baseline"]: tables.cell(row)
            for row in tables.read(RESULTS.parent / study / "verdicts.csv")
            if row["variant"] == "weight-v-paper-8e-3"
        }
        for study in ("study_f", "study_g")
    ]
    for baseline in ("none-2e-3", "none-8e-3", "weight-8e-3"):
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{baseline}`: ")]
        assert row.strip("| ").split(" | ")[1:] == [of.get(baseline, "–") for of in asked]


def test_the_details_have_what_changes_when_two_studies_are_one_family() -> None:
    studies = [joint.compared(RESULTS.parent / name) for name in ("study_a", "study_e")]
    alone, together = joint.adjusted(studies)
    of = {
        (each.variant, tables.short(each.game)): (each, own, p)
        for each, own, p in zip(itertools.chain(*studies), alone, together, strict=True)
    }
    lost = {key: p for key, (_, own, p) in of.items() if own <= LEVEL < p}
    assert lost.keys() == {("weight-data", "Breakout"), ("projection", "Seaquest")}
    text = " ".join(DETAILS.split())
    assert f"`weight-data` in Breakout (p = {lost['weight-data', 'Breakout']:.4f})" in text
    assert f"`projection` in Seaquest ({lost['projection', 'Seaquest']:.3f})" in text
    holding = sum(p <= LEVEL for p in together)
    assert f"The other {holding - 2}, and study E's two, hold" in text
    below = [
        100 - int(of[variant, "Seaquest"][0].higher.split()[0])
        for variant in ("batch", "layer-channel", "rms")
    ]
    assert "in {}, {} and {} of 100 pairs of runs".format(*below) in text


def test_a_cell_has_the_verdict_and_its_p() -> None:
    row = {"difference": "0.02", "low": "-0.24", "high": "0.27", "p_adjusted": "1"}
    row |= {"equivalence_p_adjusted": "0.0042", "verdict": "within_margin"}
    assert tables.cell(row) == "**+0.02 [−0.24, +0.27]**, within the margin, p = 0.0042"
    assert tables.cell({**row, "verdict": "undecided"}) == "+0.02 [−0.24, +0.27]"
    worse = {**row, "verdict": "worse", "p_adjusted": "1e-5"}
    assert tables.cell(worse) == "**+0.02 [−0.24, +0.27]**, worse, p < 0.001"


def test_where_all_pairs_are_compared_each_is_a_row() -> None:
    row = {"low": "-2", "high": "0", "p_adjusted": "1", "verdict": "undecided"}
    row |= {"env": "MinAtar/Breakout-v1", "baseline_mean": "3", "margin": "0.5"}
    one = {**row, "variant": "x", "baseline": "none", "difference": "-1"}
    other = {**row, "variant": "x", "baseline": "y", "difference": "-1.5"}
    assert list(tables.table([one, other]))[2:] == [
        "| `x` minus `none` | −1.0 [−2.0, +0.0] |",
        "| `x` minus `y` | −1.5 [−2.0, +0.0] |",
    ]
    assert list(tables.table([one]))[2:] == [
        "| mean of `none` | 3 |",
        "| margin | 0.5 |",
        "| `x` | −1.0 [−2.0, +0.0] |",
    ]


def test_the_readme_has_every_difference_that_is_shown() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = [*tables.read(VERDICTS), *tables.read(RESULTS.parent / "study_e" / "verdicts.csv")]
    final = [row for row in rows if row["verdict"] in {"better", "worse"}]
    assert len(final) == 17
    final += [
        row
        for row in tables.read(RESULTS.parent / "study_f" / "verdicts.csv")
        if row["verdict"] == "better" and row["baseline"] == "none-2e-3"
    ]
    final += tables.read(RESULTS.parent / "study_g" / "verdicts.csv")[:2]  # against none
    assert len(final) == 20
    for row in final:
        ends = (float(row[name]) for name in ("difference", "low", "high"))
        assert f"{tables.short(row['env'])} {difference(*ends)}" in readme


def test_the_readme_has_what_stable_baselines3_showed() -> None:
    with (RESULTS.parent / "sb3_norms.csv").open(newline="") as file:
        contests = norms.verdicts(list(csv.DictReader(file)), peer="none")
    rows = [
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if "docs/sb3_which.md" in line
    ]
    assert len(contests) == 9
    for pair, (claim, *_) in contests:
        (row,) = [line for line in rows if f"{pair.agent.upper()} of" in line and pair.env in line]
        _, _, shown, undecided, _ = row.split("|")
        interval = pair.difference.interval()
        value, low, high = (
            f"{end:+.0f}".replace("-", "−") for end in (interval.value, interval.low, interval.high)
        )
        said = f"`{pair.side}` {claim.name.lower()}: {value} [{low}, {high}]"
        assert (said in shown) != (f"`{pair.side}`" in undecided)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "runs"), [("study_a", 600), ("study_e", 180), ("study_f", 60), ("study_g", 90)]
)
def test_the_archived_runs_give_the_committed_report(name: str, runs: int, tmp_path: Path) -> None:
    pytest.importorskip("minatar")
    results = RESULTS.parent / name
    study = tmp_path / "study"
    assert archive.unpack(results, study) >= runs
    printed("-m", "wnrl.compare", "--report-only", str(study), "--import", "scripts.study.variants")
    for file in ("summary.md", "scores.csv", "verdicts.csv", "curves.csv"):
        assert (study / file).read_bytes() == (results / file).read_bytes(), file
    if name in {"study_a", "study_e"}:
        turned = printed("scripts/study/instrument.py", str(study), "--relative-to", "none")
        assert turned in DETAILS
    if name == "study_a":
        pairs, readings = printed("scripts/study/why.py", str(study)).strip().split("\n\n")
        assert pairs in DETAILS
        assert readings in DETAILS


def printed(*command: str) -> str:
    """What a command of the repository prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    whole = [sys.executable, *command]
    ended = subprocess.run(whole, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    return ended.stdout.decode()
