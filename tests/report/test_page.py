"""The report page: self-contained, with everything that a comparison contains."""

import base64
import csv
import dataclasses
import gzip
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hand_comparisons import aggregate, comparison, game, variant
from made_results import made_result
from script_modules import load_script

from wnrl.report.comparison import DEFAULT_QUESTION, Comparison, Cost, LostRuns
from wnrl.report.data import downloads as csv_downloads
from wnrl.report.data.downloads import Download, downloads
from wnrl.report.data.scores_csv import scores_csv
from wnrl.report.figures import PageFigure
from wnrl.report.page import render_page, write_page
from wnrl.report.verdicts.in_games import FINAL, contrasts
from wnrl.report.verdicts.pairs import pairs_of
from wnrl.stats.reference_scores import Reference

screenshot_report = load_script("screenshot_report.py")
needs_browser = pytest.mark.skipif(
    shutil.which("chromium") is None or shutil.which("chromedriver") is None,
    reason="chromium and chromedriver are not installed",
)
BLANK_BYTES = 200  # a page without text compresses to less
CONTENTS = """
return [...document.querySelectorAll('details:has(table)')].map(
  e => getComputedStyle(e, '::details-content').contentVisibility);
"""
VOID = {"meta", "link", "br", "img", "input", "hr"}
NASTY = '<script>alert("1")</script> & co'
FACTS = {"commit": "3f2a9c1", "settings": "-", "note": NASTY}
FIGURE = PageFigure("Curves", "What is drawn.", '<svg id="a"><path d="M0 0"/></svg>', "Curves.")


class Page(HTMLParser):
    """Contents of a page; raises if tags are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.rows: list[str] = []
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.scripts = 0
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append("")
        self.scripts += tag == "script"
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "srcset", "href", "xlink:href", "data"):
                self.loaded.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += " ".join(data.split()) + " "
            if "tr" in self._open:
                self.rows[-1] += " ".join(data.split()) + " "

    def row(self, start: str) -> str:
        """Return the first table row that starts so, with single spaces."""
        found = (" ".join(row.split()) for row in self.rows)
        return next(row for row in found if row.startswith(start))


def two_games() -> Comparison:
    """Return a comparison with a variant without runs, an aggregate, references and problems."""
    pong = game(
        "Pong",
        variant("none", (-10, -5), cost=Cost(0.5, 2.0, 900.0), evaluations=(-8, -6)),
        variant("weight", (-8, 4), cost=Cost(0.5, 3.0, 450.0), evaluations=(-4, 1)),
        variant("batch", None),
    )
    reference = Reference("DQN", 19.1, 40_000_000, None, NASTY, "sticky 0.25")
    qbert = game("Qbert", variant("none", (100, 200)), references=(reference,))
    total = aggregate(["Pong", "Qbert"], {"none": (0.1, 0.2), "weight": (0.3, 0.5)}, ["Hero"])
    problems = {"Pong/dqn-batch/seed1": f"failed: {NASTY}", "Pong/dqn-batch/seed2": "missing"}
    return comparison(pong, qbert, aggregate=total, facts=FACTS, problems=problems)


def two_games_drawn() -> Comparison:
    """Return a comparison with very long names and texts, for the figures and the browser."""
    long = "Organization/SomeRatherLongEnvironmentName-NoFrameskip-v4"
    games = [
        game(
            env,
            *(
                variant(norm, (k, k + 2.5), cost=Cost(0.5, 3.0, 450.0), evaluations=(k, k + 3))
                for k, norm in enumerate(("none", "weight", "weight-standardization", "batch"))
            ),
            references=(Reference("DQN", 3.1, 4_000, 5, "a/b/" + "c" * 90, "sticky 0.25"),),
        )
        for env in ("Breakout", long)
    ]
    problems = {"Pong/" + "x" * 90: "failed: RuntimeError: " + "y" * 200}
    results = [run for game in games for scores in game.variants for run in scores.runs]
    pairs, _ = pairs_of([scores.variant for scores in games[0].variants], "none")
    return dataclasses.replace(
        comparison(*games, facts=FACTS, problems=problems),
        contrasts=contrasts(games, pairs, results, FINAL, DEFAULT_QUESTION),
        cost="Not measured: " + "z" * 90,
    )


def rendered(of: Comparison) -> Page:
    return Page(render_page(of, [FIGURE], [FIGURE._replace(svg='<svg id="b"></svg>')]))


def test_what_can_be_concluded_comes_first() -> None:
    page = rendered(comparison(game("Pong", variant("none", (0, 1), seeds=2))))
    warning = page.text.index("2 seeds: nothing can be concluded. Run at least 3.")
    assert warning < " ".join(page.text.split()).index("Figures Curves What is drawn.")


def test_each_variant_has_a_row_with_dashes_for_missing_values() -> None:
    page = rendered(two_games())
    assert page.row("none 5 seeds") == (
        "none 5 seeds −7.5 [−10.0, −5.0] −3.8 [−5.0, −2.5] −8.0 −6.0 0.500 2.00 900"
    )
    assert page.row("weight 5 seeds") == (
        "weight 5 seeds −2.0 [−8.0, 4.0] −1.0 [−4.0, 2.0] −4.0 1.0 0.500 ×1.00 3.00 ×1.50 450 ×0.50"
    )
    assert page.row("batch 0 seeds") == "batch 0 seeds – – – – – – – –"


def test_one_seed_has_no_interval() -> None:
    page = rendered(comparison(game("Pong", variant("none", (4, 6), seeds=1))))
    assert page.row("none 1 seed").startswith("none 1 seed 5.00 no interval 2.50 no interval")
    assert "nan" not in page.text


def test_each_run_each_total_and_each_published_score_has_a_row() -> None:
    page = rendered(two_games())
    for seed in range(1, 6):
        assert page.row(f"weight, seed {seed}") == f"weight, seed {seed} −2.0 −2.0 – 1 –"
    assert page.row("weight 0.40").startswith("weight 0.40 [0.30, 0.50] 85% ± 1.0%")
    better = "weight none better"
    assert page.row(f"{better} +0.25 [+0.05, +0.45] −0.20") == (
        f"{better} +0.25 [+0.05, +0.45] −0.20 [−0.50, +0.10] 0.75 [0.50, 1.00]"
    )
    assert page.row("Qbert: DQN") == f"Qbert: DQN 19.10 40,000,000 – sticky 0.25 {NASTY}"
    assert "Left out because a scale or runs of a variant are missing: Hero." in page.text


def test_every_missing_run_is_listed() -> None:
    page = rendered(two_games())
    assert "2 runs are missing from this report." in page.text
    assert f"Pong/dqn-batch/seed1 failed: {NASTY} Pong/dqn-batch/seed2 missing" in (
        " ".join(page.text.split())
    )


def test_a_page_of_failures_alone_says_so() -> None:
    page = Page(render_page(comparison(problems={"a": "missing"}), [], []))
    assert "No run has a score: nothing can be concluded." in page.text
    assert "1 run is missing from this report." in page.text


def test_user_text_is_escaped() -> None:
    of = comparison(
        game(NASTY, variant("none", (0, 1), values=(NASTY,))), swept=("x",), facts=FACTS
    )
    page = rendered(of)
    assert page.scripts == 0
    assert page.text.count(NASTY) > 4
    assert f"note {NASTY}" in " ".join(page.text.split())


def test_control_characters_are_written_out() -> None:
    of = comparison(facts={"commit": "\x1b[31m\u202e"}, problems={"a\x1b[2J\n": "\x07"})
    text = " ".join(rendered(of).text.split())
    assert "commit \\x1b[31m\\u202e" in text
    assert "a\\x1b[2J\\n \\x07" in text


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    text = write_page(tmp_path, two_games_drawn()).read_text()
    page = Page(text)
    assert page.scripts == 0
    assert all(link.startswith(("#", "data:,")) for link in page.loaded)
    assert not re.search(r"@import|url\((?!#)", text)
    assert len(page.ids) == len(set(page.ids))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert write_page(tmp_path, two_games_drawn()).read_text() == text


def test_the_page_forbids_scripts_and_loading_before_anything_else() -> None:
    text = render_page(two_games(), [], [])
    head = text[: text.index("<title>")]
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', head)
    assert policy.split("; ") == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_swept_settings_and_lengths_are_at_the_top() -> None:
    values = [variant("weight", (0, 1), values=(value,)) for value in ("0.1", "0.01")]
    page = rendered(comparison(game("Pong", *values), swept=("learning_rate",)))
    assert (
        "How do normalizations (weight, with learning-rate 0.1 and 0.01) differ in the return of "
        "DQN on Pong? 1,000 agent steps (4,000 frames) per run; 10 of 10 runs finished."
    ) in page.text


def test_lost_runs_are_counted_at_the_top_and_in_the_row_of_their_variant() -> None:
    lost = dataclasses.replace(variant("weight", (0, 1), seeds=3), lost=LostRuns(0, 2, 0))
    page = rendered(comparison(game("Pong", variant("none", (0, 1)), lost)))
    assert "8 of 10 runs finished (2 diverged)." in page.text
    assert page.row("weight 3 of 5 (2 diverged)").startswith("weight 3 of 5 (2 diverged) 0.50")


def test_without_costs_there_are_no_columns_for_them() -> None:
    pong = game("Pong", variant("none", (0, 1)), variant("rms", (0, 1)))
    page = rendered(dataclasses.replace(comparison(pong), cost="Not measured: why."))
    assert "Scores and costs" not in page.text
    assert "agent steps/s" not in page.text
    assert "Cost. Not measured: why." in " ".join(page.text.replace(" .", ".").split())


def test_the_data_is_in_the_page(tmp_path: Path) -> None:
    runs = [made_result([1.0, 2.5], norm="none", seed=seed) for seed in (1, 2)]
    of = comparison(game("Breakout", variant("none", (0, 1))), facts={"command": "wnrl compare"})
    texts = {
        "summary.md": "x",
        "curves.csv": "c\n",
        "scores.csv": scores_csv(Path(), runs, []),
        "verdicts.csv": "v\n",
    }
    text = write_page(tmp_path, of, downloads(Path(), runs, texts)).read_text()
    links = dict(re.findall(r'<a download="([^"]*)" href="data:[^,"]*;base64,([^"]*)">', text))
    assert list(links) == ["scores.csv", "verdicts.csv", "curves.csv", "episodes.csv.gz"]
    for name in ("verdicts.csv", "curves.csv"):
        assert base64.b64decode(links[name]).decode() == texts[name]
    scores = list(csv.DictReader(base64.b64decode(links["scores.csv"]).decode().splitlines()))
    assert [row["final_return"] for row in scores] == ["2.5", "2.5"]
    assert scores[0]["versions"] == "torch 2.13"
    assert scores[0]["commit"] == "abc"
    episodes = gzip.decompress(base64.b64decode(links["episodes.csv.gz"])).decode().splitlines()
    run = scores[1]["run"]
    assert episodes[0] == "run,agent_step,raw_return"
    assert episodes[3:] == [f"{run},500,1", f"{run},1000,2.5"]
    assert "Command wnrl compare" in " ".join(Page(text).text.split()).replace("command", "Command")


def test_too_many_episodes_are_left_to_the_run_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [made_result([1.0, 2.0])]
    for most, href in ((10, True), (9, False)):
        monkeypatch.setattr(csv_downloads, "MOST_BYTES", most * 1_000 if href else most)
        (episodes,) = downloads(Path(), runs, {})
        assert bool(episodes.href) is href
        assert ("own episodes.csv" in episodes.what) is not href


def test_a_table_that_is_too_large_is_left_to_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_downloads, "MOST_BYTES", 8)
    texts = {"scores.csv": "x" * 6, "verdicts.csv": "x" * 7}  # 8 and 12 characters in base64
    tables = downloads(Path(), [made_result([1.0])], texts)[:-1]
    assert [each.name for each in tables] == ["scores.csv"]


@pytest.mark.slow
@needs_browser
def test_nothing_overlaps_or_is_cut_off_in_a_browser(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [Download("scores.csv", "One row per run.", "data:text/csv;base64,eA==")]
    path = write_page(tmp_path, two_games_drawn(), files)
    assert "difference in final return from none" in path.read_text()  # the forest plot
    code = screenshot_report.main([str(path), "--widths", "1280", "390"])
    assert (code, capsys.readouterr().out) == (0, "")


@pytest.mark.slow
@needs_browser
def test_the_browser_check_finds_layout_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.html"
    path.write_text(
        "<!DOCTYPE html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<body style='margin: 0; background: #fff; color: #000'><p style='margin: 0'>under</p>"
        "<p style='position: absolute; top: 0; left: 0; margin: 0'>over</p>"
        "<p style='width: 30px; overflow: hidden; white-space: nowrap'>longer than that</p>"
        "<p style='color: #999'>faint</p><p style='width: 2000px; text-align: right'>far</p>"
        "<svg width=20 height=20><text x=5 y=15 font-size=20>wide</text></svg>"
    )
    assert screenshot_report.main([str(path), "--widths", "390"]) == 1
    found = capsys.readouterr().out
    for problem in (
        "it scrolls sideways: 2000 px",
        "lies over",
        "cut off by <p>: longer than that",
        "contrast 2.8: faint",
        "off the page: far",
        "cut off by <svg>: wide",
    ):
        assert problem in found


@pytest.mark.slow
@needs_browser
def test_in_print_every_table_is_open_and_no_page_is_blank(tmp_path: Path) -> None:
    page = write_page(tmp_path, two_games_drawn())
    with screenshot_report.browser() as driver:
        driver.post("url", url=page.as_uri())
        driver.devtools("Emulation.setEmulatedMedia", media="print")
        contents = driver.post("execute/sync", script=CONTENTS, args=[])
        printed = base64.b64decode(driver.devtools("Page.printToPDF")["data"])
    assert contents == ["visible", "visible"]
    pages = re.findall(rb"/Type /Page\b.*?/Contents (\d+) 0 R", printed, re.DOTALL)
    assert len(pages) > 2
    for number in pages:
        stream = re.search(rb"\n%s 0 obj\n<<.*?/Length (\d+)" % number, printed, re.DOTALL)
        assert stream is not None
        assert int(stream[1]) > BLANK_BYTES


INJECTED = """
<script>window.ran = "a script"</script>
<svg onload="window.ran = 'a handler'"></svg>
<img src="http://127.0.0.1:9/picture.png" onerror="window.ran = 'an error handler'">
<link rel="stylesheet" href="http://127.0.0.1:9/style.css">
<iframe src="data:text/html,frame"></iframe>
"""
LISTEN = """
window.violations = [];
addEventListener('securitypolicyviolation', e => violations.push(e.effectiveDirective));
"""


@pytest.mark.slow
@needs_browser
def test_a_browser_runs_and_loads_nothing_that_is_injected(tmp_path: Path) -> None:
    page = write_page(tmp_path, two_games_drawn())
    injected = tmp_path / "injected.html"
    injected.write_text(page.read_text().replace("<main>", f"<main>{INJECTED}"))
    seen = []
    with screenshot_report.browser() as driver:
        driver.devtools("Page.addScriptToEvaluateOnNewDocument", source=LISTEN)
        for path in (page, injected):
            driver.post("url", url=path.as_uri())
            script = "return [window.ran || '', [...new Set(violations)].sort()];"
            seen.append(driver.post("execute/sync", script=script, args=[]))
    assert seen[0] == ["", []]
    blocked = ["frame-src", "img-src", "script-src-attr", "script-src-elem", "style-src-elem"]
    assert seen[1] == ["", blocked]
