"""summary.md and scores.csv of runs with handwritten files or results."""

import csv
import dataclasses
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_comparisons import aggregate, comparison, game, variant
from made_results import made_result
from markdown_it import MarkdownIt

from wnrl.compare import command as compare
from wnrl.compare.flags import CompareOptions
from wnrl.config import make_config
from wnrl.report import across_games, analyze
from wnrl.report.comparison import DEFAULT_QUESTION, Question
from wnrl.report.find_runs import read_record, remember, remember_command
from wnrl.report.run_result import Result
from wnrl.report.summary import summary_markdown
from wnrl.stats.bootstrap import Coverage
from wnrl.stats.intervals import t_interval
from wnrl.stats.reference_scores import Reference
from wnrl.train.storage.run_status import RunState, RunStatus

STEPS = 1_000


@pytest.fixture(autouse=True)
def _nothing_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyze, "reference_scores", lambda *_, **__: ())


def make_run(folder: Path, returns: list[float], done_steps: int = STEPS, **given: Any) -> None:
    """Write a run whose episodes end at equal distances, the last at its last step."""
    config = make_config({"env": "Breakout", "steps": STEPS, "threads": 1, **given})
    folder.mkdir(parents=True)
    part = {"from_agent_step": 0, "commit": "abc", "started": "2026-11-29T23:59:59+00:00"}
    record = {**config.to_json(), "parts": [part]}
    (folder / "config.json").write_text(json.dumps({**record, "versions": {"torch": "2.13"}}))
    lines = [f"{done_steps * k // len(returns)},0,{x},9,{k}.5\n" for k, x in enumerate(returns, 1)]
    header = "agent_step,env,raw_return,length,wall_time_s\n"
    (folder / "episodes.csv").write_text(header + "".join(lines))
    (folder / "checkpoints" / f"step_{done_steps:09d}").mkdir(parents=True)


def rows_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "scores.csv").read_text().splitlines()))


def reported(out: Path, *more: str) -> str:
    assert compare.main(["--report-only", str(out), *more]) == 0
    return (out / "summary.md").read_text()


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert compare.main([str(argument) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_a_table_has_means_intervals_and_the_facts_about_the_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, last in enumerate([4.0, 5.0, 9.0], 1):
        make_run(tmp_path / f"by-hand/{seed}", [0.0] * 18 + [last, last], norm="none", seed=seed)
        make_run(tmp_path / f"weight/{seed}", [1.0] * 20, norm="weight", seed=seed)
    text = reported(tmp_path)
    assert text in capsys.readouterr().out
    interval = t_interval([4.0, 5.0, 9.0])
    assert interval.low == pytest.approx(6 - 4.303 * 7**0.5 / 3**0.5, abs=1e-3)
    # The curve's window is a tenth: at the end the last two episodes; one, then both, before.
    area = t_interval([(x / 2 * 5 + x) / 100 for x in (4.0, 5.0, 9.0)])
    head = "| norm | runs | final return | area | mean evaluation | best evaluation |"
    rows = [line for line in text[text.index(head) :].splitlines() if line.startswith("|")]
    assert rows[2].startswith("| none | 3 | 6.0 [−0.6, 12.6] | ")
    assert f"| {area.value:.2f} [" in rows[2]
    assert rows[3] == "| weight | 3 | 1 (no interval) | 1 (no interval) | - | - |"
    assert "3 seeds: differences are indicative only. Run at least 5." in text
    for fact in (
        "agent: dqn",
        "protocol: classic",
        "agent steps: 1,000",
        "commit: abc",
        "date: 2026-11-29",
    ):
        assert f"- {fact}\n" in text
    scores = rows_of(tmp_path)
    assert len(scores) == 6
    assert scores[0] == {
        "run": "by-hand/1",
        "env": "Breakout",
        "agent": "dqn",
        "norm": "none",
        "seed": "1",
        "agent_steps": "1000",
        "done": "yes",
        "episodes": "20",
        "final_return": "4",
        "area_under_curve": f"{(4 / 2 * 5 + 4) / 100:.6g}",
        "mean_evaluation": "",
        "max_evaluation": "",
        "act_ms": "",
        "update_ms": "",
        "wall_s": "20.5",
        "protocol": "classic",
        "commit": "abc",
        "versions": "torch 2.13",
    }


def test_two_seeds_conclude_nothing_and_one_has_no_interval(tmp_path: Path) -> None:
    make_run(tmp_path / "a", [1.0], norm="none")
    make_run(tmp_path / "b", [2.0], norm="weight")
    make_run(tmp_path / "c", [3.0], norm="weight", seed=2)
    text = reported(tmp_path)
    assert "| none | 1 | 1 (no interval) |" in text
    assert "1 seed: nothing can be concluded. Run at least 3." in text


def test_five_seeds_have_no_warning(tmp_path: Path) -> None:
    for seed in range(1, 6):
        make_run(tmp_path / str(seed), [float(seed)], norm="none", seed=seed)
    assert "Run at least" not in reported(tmp_path)


def test_a_swept_setting_is_a_column_once_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # short names: the line is not cut
    make_run(tmp_path / "a", [1.0], learning_rate=1e-3)
    make_run(tmp_path / "b", [2.0], learning_rate=1e-2)
    assert refused(capsys, "--report-only", ".") == (
        "wnrl.compare: a and b differ in more than environment, "
        "normalization and seed: --learning-rate 0.001 vs 0.01; compare them with --sweep "
        "learning_rate, or keep them in separate folders\n"
    )
    text = reported(tmp_path, "--sweep", "learning-rate")
    assert "| norm | learning-rate | runs |" in text
    assert "| weight | 0.001 | 1 |" in text
    assert "learning_rate" in (tmp_path / "scores.csv").read_text().splitlines()[0]


def test_what_no_run_has_or_is_compared_anyway_cannot_be_called_swept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "a", [1.0])
    hint = refused(capsys, "--report-only", tmp_path, "--sweep", "learning-rat")
    assert "no run has this setting; did you mean learning_rate" in hint
    assert "--norm itself takes several" in refused(
        capsys, "--report-only", tmp_path, "--sweep", "norm"
    )
    assert "--seeds gives the number of seeds" in refused(
        capsys, "--report-only", tmp_path, "--sweep", "seed"
    )


def test_a_run_that_was_recorded_before_something_was_swept_is_no_variant_of_its_own(
    tmp_path: Path,
) -> None:
    make_run(tmp_path / "a", [1.0], norm="none")
    planned = {"a": {"env": "Breakout", "norm": "none"}}
    record = {"sweep": ["learning_rate"], "runs": planned}
    (tmp_path / "compare.json").write_text(json.dumps(record))
    rows = [line for line in reported(tmp_path).splitlines() if line.startswith("| none")]
    assert rows == ["| none | 0.0001 | 1 | 1 (no interval) | 1 (no interval) | - | - |"]


def test_the_same_run_does_not_count_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "a", [1.0], norm="none")
    make_run(tmp_path / "copy", [1.0], norm="none")
    assert "norm none, seed 1), which would count twice" in refused(
        capsys, "--report-only", tmp_path
    )


def test_a_swept_setting_without_effect_is_no_value(tmp_path: Path) -> None:
    make_run(tmp_path / "a", [1.0], norm="none")
    make_run(tmp_path / "b", [1.0], norm="weight", v_norm="paper")
    make_run(tmp_path / "c", [1.0], norm="weight")
    rows = [line[:18] for line in reported(tmp_path, "--sweep=v_norm").splitlines()]
    assert {"| none | - | 1 | 1", "| weight | paper |", "| weight | weight "} <= set(rows)
    page = (tmp_path / "report.html").read_text()
    assert "none -" not in page
    for name in ("scores.csv", "verdicts.csv", "curves.csv", "episodes.csv.gz"):
        assert f'download="{name}"' in page


def test_runs_of_other_machines_are_compared_and_their_times_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "a", [1.0], norm="none")
    make_run(tmp_path / "b", [2.0], norm="weight", threads=2)
    text = reported(tmp_path)
    assert "- machine: auto, 1 thread or auto, 2 threads\n" in text
    assert "Not measured: the runs used different machines or numbers of threads." in text
    assert "agent steps/s" not in text
    capsys.readouterr()
    # It is refused before anything is measured.
    monkeypatch.setattr("wnrl.compare.run_comparison.with_costs", None)
    flags = ["--norm", "none", "weight", "--steps=1000", "--threads=1", "--seeds=1", "--dry-run"]
    assert "--threads 1 vs 2" in refused(capsys, *flags, "--out", tmp_path)


@pytest.mark.slow
def test_the_baseline_and_the_margin_are_flags_and_remembered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(1, 6):
        for norm in ("none", "weight"):
            make_run(tmp_path / f"{norm}{seed}", [0.0] * 9 + [100.0 + seed], norm=norm, seed=seed)
    assert "| Breakout | weight | none |" in reported(tmp_path)
    text = reported(tmp_path, "--baseline", "weight", "--margin", "0.02")
    assert "| Breakout | none | weight |" in text
    margin = 0.02 * (103 - 1.7)  # 1.7 is the published score of random play
    assert f"| {margin:.3g} |" in text
    assert "--baseline layer: no run has this normalization; choose one of none, weight" in (
        refused(capsys, "--report-only", tmp_path, "--baseline", "layer")
    )
    record = {"sweep": [], "runs": {}, "baseline": "weight", "margin": 0.03}
    (tmp_path / "compare.json").write_text(json.dumps(record))
    text = reported(tmp_path)
    assert "| Breakout | none | weight |" in text
    assert f"| {0.03 * (103 - 1.7):.3g} |" in text


def test_a_grid_adds_its_question_to_the_record(tmp_path: Path) -> None:
    config = make_config({"env": "Breakout", "norm": "none"})
    remember(tmp_path, {tmp_path / "a": config}, [], Question("weight", 0.2))
    assert read_record(tmp_path).question == Question("weight", 0.2)
    assert CompareOptions().question(Question("weight", 0.2)) == Question("weight", 0.2)
    options = CompareOptions(baseline="none", margin=0.3)
    assert options.question(Question("weight", 0.2)) == Question("none", 0.3)
    old = {"sweep": [], "runs": {}}  # from before there was a question
    (tmp_path / "compare.json").write_text(json.dumps(old))
    assert read_record(tmp_path).question == Question("none", 0.1)


def test_commands_are_remembered_and_how_many_runs_they_trained_at_a_time(tmp_path: Path) -> None:
    config = make_config({"env": "Breakout", "norm": "none"})
    looked_at = []
    for command, at_a_time in (("a", 1), ("b", 2), ("a", 1), ("c", 0), ("c", 1)):
        remember_command(tmp_path, command, at_a_time)
        remember(tmp_path, {tmp_path / "a": config}, [], DEFAULT_QUESTION)
        record = read_record(tmp_path)
        looked_at.append(("".join(record.commands), record.at_a_time))
    # 0, unknown, stays 0: the runs whose number at a time is not known are still there.
    assert looked_at == [("a", 1), ("ab", 2), ("ab", 2), ("abc", 0), ("abc", 0)]


def test_runs_that_diverged_or_were_rolled_back_are_counted_and_named(tmp_path: Path) -> None:
    for seed in range(1, 6):
        make_run(tmp_path / f"none{seed}", [1.0, 2.0], norm="none", seed=seed)
        make_run(tmp_path / f"weight{seed}", [1.0, 2.0], 500 if seed == 1 else STEPS, seed=seed)
    status = RunStatus(500, 1.0, None, RunState.DIVERGED, STEPS, 2, "the loss is nan")
    (tmp_path / "weight1/status.json").write_text(json.dumps(dataclasses.asdict(status)))
    config = tmp_path / "weight2/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "rollbacks": ["loss is inf"]}))
    text = reported(tmp_path)
    assert "4 of 5 (1 diverged), 5 of 5" in text
    assert "- weight1: not done, 500 of 1,000 agent steps: the loss is nan" in text
    assert "half the learning rate: Breakout weight, seed 2: loss is inf." in text.replace("\\", "")


@pytest.mark.slow
def test_the_same_runs_give_the_same_files(tmp_path: Path) -> None:
    for env in ("Breakout", "Pong"):
        for seed in (1, 2):
            make_run(tmp_path / env / str(seed), [3.0 * seed], norm="none", env=env, seed=seed)
    first = reported(tmp_path), (tmp_path / "scores.csv").read_bytes()
    assert (reported(tmp_path), (tmp_path / "scores.csv").read_bytes()) == first
    assert "## All games" in first[0]


def summary(results: list[Result]) -> list[str]:
    generator = np.random.default_rng(0)
    return summary_markdown(analyze.compare_runs(results, [], {}, [], generator)).splitlines()


def test_costs_have_their_ratio_to_the_plain_network() -> None:
    lines = summary(
        [
            made_result([1.0], norm="weight", act_ms=3.0, update_ms=8.0, wall_s=2.0),
            made_result([1.0], norm="none", act_ms=2.0, update_ms=8.0, wall_s=1.0),
            made_result([1.0], norm="layer", wall_s=4.0),
        ]
    )
    at = lines.index("| norm | ms per act | ms per update | agent steps/s |")
    assert lines[at + 2 : at + 5] == [
        "| weight | 3 (1.50) | 8 (1.00) | 500 (0.50) |",
        "| none | 2 | 8 | 1,000 |",
        "| layer | - | - | 250 (0.25) |",
    ]


def test_the_best_evaluation_is_shown_with_the_mean() -> None:
    lines = summary([made_result([2.0], evaluations=[1.0, 6.0, 2.0])])
    assert "| none | 1 | 2 (no interval) | 2 (no interval) | 3 | 6 |" in lines
    assert any("grows with the number of evaluations by chance alone" in line for line in lines)


def test_a_published_score_has_its_frames_protocol_and_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = Reference("DQN", 401.2, 4_000, None, "Mnih et al. 2015", "no sticky actions")
    monkeypatch.setattr(analyze, "reference_scores", lambda *_, **__: (known,))
    lines = summary([made_result([2.0])])
    assert "| DQN | 401.2 | 4,000 | - | no sticky actions | Mnih et al. 2015 |" in lines


def test_scores_over_games_have_their_coverage_and_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(across_games, "simulated_coverage", lambda *_: Coverage(0.914, 0.0142))
    results = [
        made_result([10.0 * seed], env=env, norm=norm, seed=seed)
        for env in ("Breakout", "Pong", "CartPole-v1")
        for norm in ("none", "weight")
        for seed in (1, 2)
    ]
    lines = summary(results)
    at = lines.index("## All games")
    assert lines[at + 2] == "Over 2 games: Breakout, Pong."
    assert lines[at + 3] == (
        "Left out because a scale or runs of a variant are missing: CartPole-v1."
    )
    assert lines[at + 5] == "**2 seeds: nothing can be concluded. Run at least 3.**"
    assert lines[at + 7] == "| norm | IQM | coverage | optimality gap | coverage | mean | median |"
    none = lines[at + 9].split(" | ")
    assert none[0] == "| none"
    assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", none[1])
    assert none[2] == none[4] == "91% ± 1%"
    assert "| weight | none | undecided | – | – | - (no interval) |" in lines


def test_where_games_cannot_be_put_together_it_says_why() -> None:
    lines = summary([made_result([1.0]), made_result([1.0], env="CartPole-v1")])
    assert any(line.startswith("There are no scores over all games: ") for line in lines)
    assert not any("over all games" in line for line in summary([made_result([1.0])]))


def test_what_is_not_done_missing_or_broken_is_named_and_in_no_table(tmp_path: Path) -> None:
    make_run(tmp_path / "half", [9.0], 500, norm="none", seed=1)
    (tmp_path / "half" / "train.log").write_text("begun\nwnrl.train: no space left\n")
    make_run(tmp_path / "done", [1.0], norm="none", seed=2)
    make_run(tmp_path / "bare", [1.0], norm="none", seed=6)
    (tmp_path / "bare" / "checkpoints" / f"step_{STEPS:09d}").rmdir()
    make_run(tmp_path / "silent", [], norm="none", seed=3)
    make_run(tmp_path / "broken", [1.0], norm="none", seed=4)
    (tmp_path / "broken" / "config.json").write_text("{")
    make_run(tmp_path / "hidden", [1.0], norm="none", seed=5)
    (tmp_path / "hidden" / "events.out.tfevents.1").mkdir()
    planned = {"gone": {"env": "Breakout", "norm": "layer", "seed": 1}}
    (tmp_path / "compare.json").write_text(json.dumps({"sweep": [], "runs": planned}))
    text = reported(tmp_path)
    assert "| none | 1 of 4 (2 unfinished, 1 without an episode) | 1 (no interval) |" in text
    assert "| layer | 0 of 1 (1 unfinished) | - | - | - | - |" in text
    assert "**layer has no seeds: nothing can be concluded. Run at least 3.**" in text
    assert "- half: not done, 500 of 1,000 agent steps: wnrl.train: no space left\n" in text
    assert "- bare: no checkpoint, so it is unknown whether it is done\n" in text
    assert "- silent: no episode ended, so there is no score\n" in text
    assert "- gone: missing\n" in text
    assert "cannot be read as a run's configuration" in text
    assert "- hidden: " in text
    assert "events.out.tfevents.1 cannot be read: Is a directory" in text
    scores = rows_of(tmp_path)
    assert {row["run"]: row["done"] for row in scores} == {
        "bare": "no",
        "done": "yes",
        "half": "no",
        "silent": "yes",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--report-only", "nowhere"], "no run in nowhere: it is not a folder"),
        (["--report-only", __file__], "no run in .*: it is not a folder"),
        (
            ["--report-only", "."],
            r"no run in \.: the folder holds none; name a folder that holds runs",
        ),
        (["--out", __file__, "--seeds=1", "--jobs=1"], "--out .*: File exists; choose another"),
        (
            ["--report-only", ".", "--seeds", "3"],
            "takes only --sweep, --baseline and --margin; drop --seeds",
        ),
        (["--report-only", ".", "--sweep", "gamma=1"], "--report-only takes only the name, gamma"),
        (["--seed", "1"], "unknown argument '--seed'; .* did you mean --seeds"),
        (["--run-dir", "x"], "unknown argument '--run-dir'"),
        (["--report"], "unknown argument '--report'"),
        (["--seeds", "0"], "--seeds 0 is out of range"),
        (["--env", "Breakot"], "unknown environment 'Breakot'; did you mean Breakout"),
        (["--norm", "none", "wieght"], "--norm 'wieght' is unknown"),
        (["--sweep", "gamma"], "write SETTING=VALUE,VALUE"),
        (["--sweep", "gamma=0.9,"], "write SETTING=VALUE,VALUE"),
        (["--sweep", "gamma=0.9", "gamma=0.8"], "gamma is given twice"),
        (["--batch-size", "many"], "--batch-size takes a whole number"),
        (
            ["--env", "toy/Catch", "--norm", "weight", "batch", "--batch-size=1", "--jobs=1"],
            "needs batches of at least",
        ),
        (["--device", "cuda:99"], "cuda:99"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_starts(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert re.search(said, refused(capsys, *arguments))
    assert list(tmp_path.iterdir()) == []


def test_a_file_says_what_all_have_and_no_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text("seed = 3\n")
    assert "seed differs between runs; remove it and use --seeds" in refused(
        capsys, "--config", file
    )


def test_markup_in_names_and_errors_is_shown_and_not_rendered() -> None:
    nasty = "<b>`x`|[y](z)\x1b[31m\n# *w* _v_"
    shown = html.escape("<b>`x`|[y](z)\\x1b[31m\\n# *w* _v_", quote=False)
    games = [
        game(
            nasty,
            variant("none", (0, 1), seeds=2, values=(nasty,)),
            variant("rms", None, values=(nasty,)),
        ),
        game("Pong", variant("none", (0, 1), values=("1",))),
    ]
    total = aggregate(["Pong", nasty], {"none": (0.1, 0.2), nasty: (0.3, 0.5)}, [nasty])
    problems = {f"- {nasty}": nasty}
    text = summary_markdown(
        comparison(
            *games, aggregate=total, swept=("x",), facts={"commit": nasty}, problems=problems
        )
    )
    page = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    assert page.count(shown) == 15
    assert f"<h2>{shown}</h2>" in page
    assert f"<li>commit: {shown}</li>" in page
    assert f"<li>- {shown}: {shown}</li>" in page
    assert f"<td>none</td>\n<td>{shown}</td>\n<td>2</td>" in page
    assert page.count("<table>") == 4
    tags = "h1 h2 p ul li strong table thead tbody tr th td"
    assert set(re.findall(r"<(\w+)", page)) == set(tags.split())
