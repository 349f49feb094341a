"""Tables of runs whose files are written by hand."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from wnrl import analysis, compare
from wnrl.config import make_config
from wnrl.intervals import t_interval

STEPS = 1_000


@pytest.fixture(autouse=True)
def _nothing_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "reference_scores", lambda *_, **__: ())


def make_run(folder: Path, returns: list[float], done_steps: int = STEPS, **given: Any) -> None:
    """A run whose episodes ended in equal distances, the last at its end."""
    config = make_config({"env": "Breakout", "steps": STEPS, "threads": 1, **given})
    folder.mkdir(parents=True)
    record = {**config.to_json(), "parts": [{"from_agent_step": 0, "commit": "abc"}]}
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


def test_a_table_has_means_intervals_and_what_they_rest_on(
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
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ("| norm | seeds | final return | area | mean evaluation | best evaluation |")
    assert rows[2].startswith(f"| none | 3 | 6 [{interval.low:.4g}, {interval.high:.4g}] | ")
    assert f"| {area.mean:.4g} [" in rows[2]
    assert rows[3] == "| weight | 3 | 1 [1, 1] | 1 [1, 1] | - | - |"
    assert "3 seeds, fewer than five: indicative only." in text
    for fact in ("agent: dqn", "protocol: classic", "agent steps: 1,000", "commit: abc"):
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
    }


def test_two_seeds_conclude_nothing_and_one_has_no_interval(tmp_path: Path) -> None:
    make_run(tmp_path / "a", [1.0], norm="none")
    make_run(tmp_path / "b", [2.0], norm="weight")
    make_run(tmp_path / "c", [3.0], norm="weight", seed=2)
    text = reported(tmp_path)
    assert "| none | 1 | 1 (no interval) |" in text
    assert "1 seed, fewer than three: nothing can be concluded." in text


def test_five_seeds_have_no_warning(tmp_path: Path) -> None:
    for seed in range(1, 6):
        make_run(tmp_path / str(seed), [float(seed)], norm="none", seed=seed)
    assert "fewer than" not in reported(tmp_path)


def test_a_swept_setting_is_a_column_once_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "a", [1.0], learning_rate=1e-3)
    make_run(tmp_path / "b", [2.0], learning_rate=1e-2)
    assert refused(capsys, "--report-only", tmp_path) == (
        f"wnrl.compare: {tmp_path}/a and {tmp_path}/b differ in more than environment, "
        "normalization and seed: --learning-rate 0.001 against 0.01; if that is what is compared, "
        "give --sweep learning_rate; or keep them in folders of their own\n"
    )
    text = reported(tmp_path, "--sweep", "learning-rate")
    assert "| norm | learning-rate | seeds |" in text
    assert "| weight | 0.001 | 1 |" in text
    assert "learning_rate" in (tmp_path / "scores.csv").read_text().splitlines()[0]


def test_the_same_run_does_not_count_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "a", [1.0], norm="none")
    make_run(tmp_path / "copy", [1.0], norm="none")
    assert "with norm none and seed 1, which would count twice" in refused(
        capsys, "--report-only", tmp_path
    )


def test_a_swept_setting_without_effect_is_no_value(tmp_path: Path) -> None:
    make_run(tmp_path / "a", [1.0], norm="none")
    make_run(tmp_path / "b", [1.0], norm="weight", v_norm="paper")
    make_run(tmp_path / "c", [1.0], norm="weight")
    rows = [line[:18] for line in reported(tmp_path, "--sweep=v_norm").splitlines()]
    assert {"| none | - | 1 | 1", "| weight | paper |", "| weight | weight "} <= set(rows)


def test_what_is_not_done_missing_or_broken_is_named_and_in_no_table(tmp_path: Path) -> None:
    make_run(tmp_path / "half", [9.0], 500, norm="none", seed=1)
    (tmp_path / "half" / "train.log").write_text("begun\nwnrl.train: no space left\n")
    make_run(tmp_path / "done", [1.0], norm="none", seed=2)
    make_run(tmp_path / "silent", [], norm="none", seed=3)
    make_run(tmp_path / "broken", [1.0], norm="none", seed=4)
    (tmp_path / "broken" / "config.json").write_text("{")
    planned = {"gone": {"env": "Breakout", "norm": "layer", "seed": 1}}
    (tmp_path / "compare.json").write_text(json.dumps({"sweep": [], "runs": planned}))
    text = reported(tmp_path)
    assert "| none | 1 | 1 (no interval) |" in text
    assert "| layer | 0 | - | - | - | - |" in text
    assert "0 seeds, fewer than three: nothing can be concluded." in text
    assert "- half: not done, 500 of 1,000 agent steps: wnrl.train: no space left\n" in text
    assert "- silent: no episode ended, so there is no score\n" in text
    assert "- gone: missing\n" in text
    assert "cannot be read as a run's configuration" in text
    scores = rows_of(tmp_path)
    assert [row["done"] for row in scores] == ["yes", "no", "yes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--report-only", "nowhere"], "no run in nowhere"),
        (["--report-only", ".", "--seeds", "3"], "takes --sweep alone beside it"),
        (["--report-only", ".", "--sweep", "gamma=1"], "name the flag alone, gamma"),
        (["--seed", "1"], "unknown argument '--seed'; .* did you mean --seeds"),
        (["--run-dir", "x"], "unknown argument '--run-dir'"),
        (["--report"], "unknown argument '--report'"),
        (["--seeds", "0"], "--seeds 0 is out of range"),
        (["--env", "Breakot"], "unknown environment 'Breakot'; did you mean Breakout"),
        (["--norm", "none", "wieght"], "--norm 'wieght' is unknown"),
        (["--sweep", "gamma"], "write FLAG=VALUE,VALUE"),
        (["--sweep", "gamma=0.9,"], "write FLAG=VALUE,VALUE"),
        (["--sweep", "gamma=0.9", "gamma=0.8"], "gamma is given twice"),
        (["--batch-size", "many"], "--batch-size takes a whole number"),
        (
            ["--env", "toy/Catch", "--norm", "weight", "batch", "--batch-size=1", "--jobs=1"],
            "is too small",
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
    assert "give --seeds instead" in refused(capsys, "--config", file)
