"""The pages of the study say what the committed results say, and these come from the runs."""

import csv
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping
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
REBUILT = ("study_a", "study_g")  # against one baseline, and all pairs; each takes a minute


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
    (plain,) = [
        row
        for row in tables.read(RESULTS.parent / "study_g" / "verdicts.csv")
        if row["variant"] == "weight-8e-3"
    ]
    assert f"by {ends_of(plain)} ({tables.is_p(float(plain['p_adjusted']))})" in PAGE
    best = asked[1]["none-8e-3"].strip("*").split("**")[0]
    assert f"by {best}" in " ".join(PAGE.split())


def ends_of(row: Mapping[str, str]) -> str:
    """The difference of a row with its interval."""
    return difference(*(float(row[name]) for name in ("difference", "low", "high")))


def test_the_pages_have_what_changes_when_studies_are_one_family() -> None:
    page, details = (" ".join(text.split()) for text in (PAGE, DETAILS))
    families = {
        names: [joint.compared(RESULTS.parent / f"study_{name}") for name in names]
        for names in ("ae", "efg")
    }
    held, lost = {}, {}
    for names, studies in families.items():
        for each, alone, p in zip(itertools.chain(*studies), *joint.adjusted(studies), strict=True):
            key = (names, each.study, each.variant, each.baseline, tables.short(each.game))
            if alone <= LEVEL:
                (held if p <= LEVEL else lost)[key] = p
    a = {key[2:]: p for key, p in lost.items() if key[:2] == ("ae", "study_a")}
    assert a.keys() == {("weight-data", "none", "Breakout"), ("projection", "none", "Seaquest")}
    assert "**Two of these 15 verdicts**, `weight-data` in Breakout and `projection` in" in page
    assert f"`weight-data` in Breakout (p = {a['weight-data', 'none', 'Breakout']:.4f})" in details
    assert f"`projection` in Seaquest ({a['projection', 'none', 'Seaquest']:.3f})" in details
    assert sum(key[:2] == ("ae", "study_a") for key in held) == 13
    assert sum(key[:2] == ("ae", "study_e") for key in held) == 2
    v_paper = ("weight-v-paper-8e-3", "none-8e-3"), ("weight-v-paper-8e-3", "weight-8e-3")
    of_g = [tables.is_p(held["efg", "study_g", *pair, "Breakout"]) for pair in v_paper]
    assert f"`weight-v-paper` in G hold ({' and '.join(of_g)})" in details
    p = lost["efg", "study_g", "weight-8e-3", "none-8e-3", "Breakout"]
    assert f"That `weight` is better than `none` does not ({tables.is_p(p)})" in details
    p = lost["efg", "study_f", "weight-v-paper-8e-3", "none-2e-3", "Breakout"]
    assert f"F's repetition of E ({tables.is_p(p)})" in details


def test_the_details_have_how_many_runs_end_lower_in_seaquest() -> None:
    lower = {
        each.variant: joint.Compared(*each[:4], each.other, each.own).higher
        for each in joint.compared(RESULTS)
        if "Seaquest" in each.game
    }
    named = [lower[variant] for variant in ("batch", "layer-channel", "rms")]
    assert "in {}, {} and {} of 100 pairs of runs".format(*named) in " ".join(DETAILS.split())


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
    lines = (ROOT / "README.md").read_text().splitlines()
    for study, link, baseline, count in (
        ("study_a", "(docs/answer.md)", "none", 15),
        ("study_e", "#study-e-", "none", 2),
        ("study_f", "[study F]", "none-2e-3", 1),
        ("study_g", "[study G]", "none-8e-3", 2),
    ):
        (line,) = [line for line in lines if line.startswith("|") and link in line]
        said = said_in(line.split("|")[2])
        shown = {
            (
                row["variant"].removesuffix("-8e-3"),
                row["verdict"],
                f"{tables.short(row['env'])} {ends_of(row)}",
            )
            for row in tables.read(RESULTS.parent / study / "verdicts.csv")
            if row["verdict"] in {"better", "worse"} and row["baseline"] == baseline
        }
        assert said == shown
        assert len(shown) == count


def said_in(cell: str) -> set[tuple[str, str, str]]:
    """Variant, verdict and each difference of a cell like "`x` better: Pong +1 [+0, +2]"."""
    found = set()
    for sentence in re.split(r"\. ", cell):
        (variant,) = re.findall(r"^ *`([\w-]+)`", sentence)
        for verdict, differences in re.findall(r"\b(better|worse)\b[^:]*: ([^;]*)", sentence):
            for each in re.findall(r"\w+ [+−][\d.]+ \[[^]]*\]", differences):
                found.add((variant, verdict, each))
    return found


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
def test_the_archived_runs_give_the_committed_tables(name: str, runs: int, tmp_path: Path) -> None:
    pytest.importorskip("minatar")
    results = RESULTS.parent / name
    study = tmp_path / "study"
    assert archive.unpack(results, study) >= runs
    if name in REBUILT:
        report = "-m", "wnrl.compare", "--report-only", str(study)
        printed(*report, "--import", "scripts.study.variants")
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
