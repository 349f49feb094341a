"""`--until decided` with made scores: which runs start, what is decided, and that repeats agree."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from made_results import made_result

from wnrl._settings import UsageError
from wnrl.compare import command, stages
from wnrl.compare.flags import parse_compare_flags
from wnrl.compare.grid import PlannedRun, make_grid
from wnrl.compare.jobs.runner import Run, State
from wnrl.compare.stages import StagedStudy, check_stages, run_stages
from wnrl.report.comparison import Question
from wnrl.report.find_runs import read_record
from wnrl.report.run_result import Result

NORMS = ["none", "weight", "layer"]
MOST = 12
QUESTION = Question(margin=0.1)
RANDOM = np.random.default_rng(1)
NOISE = {(norm, seed): RANDOM.normal() for norm in NORMS for seed in range(1, MOST + 1)}
Level = Callable[[str, int], float]  # mean return of a normalization's seed; NaN if it is lost


def made(level: Level) -> Callable[[PlannedRun], Result | None]:
    def result(planned: PlannedRun) -> Result | None:
        run = planned.config.run
        height = level(run.norm, run.seed)
        if math.isnan(height):
            return None
        # ten episodes of an untrained agent, then the score
        end = [height + NOISE[run.norm, run.seed]] * 90
        return made_result([0.0] * 10 + end, env=run.env, norm=run.norm, seed=run.seed)

    return result


def study(
    norms: Sequence[str] = NORMS,
    most: int = MOST,
    fewest: int = 4,
    question: Question = QUESTION,
    **settings: str,
) -> StagedStudy:
    grid = make_grid(
        settings,
        envs=["toy/Catch"],
        norms=norms,
        sweep={},
        seeds=range(1, most + 1),
        out=Path("out"),
        modules=(),
    )
    return StagedStudy(grid, fewest, [], question)


def all_done(new: Sequence[PlannedRun], earlier: Sequence[Run]) -> list[Run]:
    return [Run(planned, State.DONE) for planned in new]


def seeds_of(found: StagedStudy) -> dict[str, int]:
    norms = [planned.config.run.norm for planned in found.started]
    return {norm: norms.count(norm) for norm in NORMS}


def verdicts(found: StagedStudy) -> dict[str, str]:
    return {decision.variant: decision.verdict for decision in found.record().decisions}


def go(monkeypatch: pytest.MonkeyPatch, out: Path, level: Level) -> StagedStudy:
    monkeypatch.setattr(stages, "_result", made(level))
    planned = study()
    grid = [p._replace(folder=out / p.folder) for of in planned._runs.values() for p in of]
    planned = StagedStudy(grid, 4, [], QUESTION)
    out.mkdir(exist_ok=True)
    run_stages(planned, out, [], QUESTION, all_done)
    return planned


def clear_and_near(norm: str, seed: int) -> float:
    return {"none": 30.0, "weight": 40.0, "layer": 33.5}[norm]


def test_seeds_are_added_only_where_they_decide(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = go(monkeypatch, tmp_path, clear_and_near)
    assert found.plan.seeds == (4, 6, 8, 10, 12)
    seeds = seeds_of(found)
    assert seeds["weight"] == 4 < seeds["layer"] == seeds["none"]
    assert verdicts(found)["weight"] == "BETTER"
    said = capsys.readouterr().out
    assert "toy/Catch: weight against none: better (after 4 seeds)\n" in said
    assert "1 comparison undecided after 4 seeds: going on\n" in said
    runs = sum(seeds.values())
    assert f"{runs} runs instead of 36 (12 seeds for all): {36 - runs} saved\n" in said


def test_a_repeated_study_decides_the_same_and_compare_json_keeps_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = go(monkeypatch, tmp_path, clear_and_near)
    kept = read_record(tmp_path)
    assert kept.stages == first.record()
    assert len(kept.runs) == len(first.started) < 36  # runs that were spared are not missing
    again = go(monkeypatch, tmp_path, clear_and_near)
    assert again.record() == first.record()
    assert read_record(tmp_path) == kept


def test_scores_beyond_a_stage_do_not_change_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The baseline may have more seeds than a variant that was decided early."""
    first = go(monkeypatch, tmp_path / "a", clear_and_near)
    other = go(
        monkeypatch,
        tmp_path / "b",
        lambda norm, seed: clear_and_near(norm, seed) + 9 * (norm == "none" and seed > 4),
    )
    weight = [x for found in (first, other) for x in found.record().decisions if x.seeds == 4]
    assert len(weight) == 2
    assert weight[0] == weight[1]


def test_a_stop_in_the_middle_decides_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stages, "_result", made(clear_and_near))
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(tmp_path)
    runs = run_stages(study(), Path("out"), [], QUESTION, lambda new, _: [Run(p) for p in new])
    assert [run.state for run in runs] == [State.WAITING] * 12
    kept = json.loads((out / "compare.json").read_text())["stages"]
    assert kept["decisions"] == []


def test_a_claim_survives_only_if_lost_runs_may_have_learned_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = go(
        monkeypatch,
        tmp_path,
        lambda norm, seed: (
            math.nan if norm == "weight" and seed % 2 else clear_and_near(norm, seed)
        ),
    )
    assert verdicts(found)["weight"] == "UNDECIDED"


def test_a_variant_that_loses_every_run_gets_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def level(norm: str, seed: int) -> float:
        return math.nan if norm == "weight" else clear_and_near(norm, seed)

    found = go(monkeypatch, tmp_path, level)
    assert seeds_of(found)["weight"] == 4 < seeds_of(found)["none"]
    assert verdicts(found)["weight"] == "UNDECIDED"


def test_without_the_baseline_there_is_nothing_to_decide() -> None:
    with pytest.raises(UsageError, match="compares with the baseline none; add it"):
        study(["weight", "layer"])


def test_the_stages_cannot_change_after_a_look(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go(monkeypatch, tmp_path, clear_and_near)
    check_stages(study(), tmp_path)
    others = [study(most=11), study(fewest=5), study(NORMS[:2]), study(steps="7_000"), None]
    others.append(study(question=Question(margin=0.2)))
    for other in others:
        with pytest.raises(UsageError, match=r"--seeds 4, --max-seeds 12, --margin 0\.1, --steps "):
            check_stages(other, tmp_path)
    (tmp_path / "compare.json").write_text(
        json.dumps({"sweep": [], "runs": {"a/b/seed1": {"env": "a", "norm": "b"}}})
    )
    check_stages(None, tmp_path)
    with pytest.raises(UsageError, match="fixed number of seeds"):
        check_stages(study(), tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-seeds=9"], "--max-seeds requires --until decided"),
        (["--until=decided", "--seeds=2"], "it must be from 3 to --max-seeds, 20"),
        (["--until=decided", "--seeds=9", "--max-seeds=8"], "it must be from 3 to --max-seeds, 8"),
        (["--until=decided", "--only=3"], "--only cannot run a stage"),
        (["--until=decided", "--first-seed=5"], "--first-seed needs a fixed number of seeds"),
        (["--until=done"], "'done' is unknown; allowed: decided"),
    ],
)
def test_flags_that_make_no_stages_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_compare_flags(flags)


@pytest.mark.slow
def test_the_command_adds_seeds_reports_its_verdicts_and_repeats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--env=toy/Catch", "--norm", "none", "weight", "--jobs=2", "--steps=300"]
    arguments += ["--warmup-steps=200", "--eval-every-steps=0", "--no-wall-time"]
    arguments += ["--until=decided", "--seeds=3", "--max-seeds=4", f"--out={tmp_path}"]
    assert command.main(arguments) == 0
    said = capsys.readouterr().out
    assert (
        "in stages of 3, 4 seeds: 1 comparison with none, each until it is decided; 8 runs" in said
    )
    assert "runs instead of 8 (4 seeds for all)" in said
    kept = (tmp_path / "compare.json").read_text()
    decision = json.loads(kept)["stages"]["decisions"][0]
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert len(rows) == 2 * decision["seeds"]
    assert decision["final"]
    assert command.main(arguments) == 0
    captured = capsys.readouterr()
    assert " started" not in captured.err
    assert (tmp_path / "compare.json").read_text() == kept
    assert command.main([*arguments[:-3], "--seeds=4", arguments[-1]]) == 2
    assert "was planned with --until decided" in capsys.readouterr().err
