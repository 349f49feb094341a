"""A study's archives hold what its report needs and what a comparison needs to continue."""

import shutil
from pathlib import Path

import pytest
from script_modules import load_script

from wnrl.compare import command as compare
from wnrl.report.run_result import read_result
from wnrl.train.storage.run_status import saved_steps

archive = load_script("study/archive.py")

GRID = ["--env=toy/Catch", "--norm", "none", "weight", "--steps=600", "--eval-every-steps=0"]
GRID += ["--warmup-steps=200", "--update-period-steps=4", "--jobs=2", "--threads=1"]
GRID += ["--instruments-every-updates=50"]
REPORT = ("summary.md", "scores.csv", "report.html")


def go(*arguments: object) -> None:
    assert compare.main([str(argument) for argument in arguments]) == 0


@pytest.mark.slow
def test_an_unpacked_study_has_the_same_report_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study, archives = Path("study"), Path("archives")
    go(*GRID, "--seeds=1", "--out", study)
    assert archive.pack(study, archives) == 2
    assert archive.pack(study, archives) == 0
    before = {name: (study / name).read_bytes() for name in REPORT}
    trained = {config.parent for config in study.rglob("config.json")}
    readings = {str(run): archive.instruments(run) for run in trained}
    shutil.rmtree(study)

    assert archive.unpack(archives, study) == 2
    go("--report-only", study)
    assert {name: (study / name).read_bytes() for name in REPORT} == before
    for run in trained:
        assert not list(run.rglob("*.pt"))
        rows = (run / "instruments.csv").read_text().splitlines()[1:]
        assert len(rows) == len(readings[str(run)]) > 0

    go(*GRID, "--seeds=2", "--out", study)
    new = {config.parent for config in study.rglob("config.json")} - trained
    assert [saved_steps(run) >= 600 for run in new] == [True, True]
    assert all(read_result(run).done for run in trained)
    assert archive.pack(study, archives) == 2
    shutil.rmtree(study)
    assert archive.unpack(archives, study) == 4
    go("--report-only", study)
    assert (study / "scores.csv").read_text().count(",yes,") == 4


@pytest.mark.slow
def test_a_run_that_has_not_ended_is_not_packed(tmp_path: Path) -> None:
    study = tmp_path / "study"
    go(*GRID, "--seeds=1", "--out", study)
    for status in study.rglob("*none*/seed1/status.json"):
        status.write_text(status.read_text().replace('"done"', '"running"'))
    assert archive.pack(study, tmp_path / "archives") == 1
