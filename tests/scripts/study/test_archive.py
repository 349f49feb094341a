"""A study's archives hold what its report needs and what a comparison needs to continue."""

import json
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
REPORT = ("summary.md", "scores.csv", "verdicts.csv", "curves.csv", "report.html")


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


def made_run(folder: Path, state: str, *, episodes: bool = True) -> None:
    """The files of a run that an archive reads."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    status = {"agent_steps": 5, "mean_return": None, "steps_per_s": None, "state": state}
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "instruments.csv").write_text("tag,agent_step,value\nnorm/srank,5,0.25\n")
    if episodes:
        (folder / "checkpoints" / "step_000000005").mkdir(parents=True)
        rows = ["agent_step,env,raw_return,length,wall_time_s,score_wraps"]
        rows += ["2,0,1.5,2,0.75,1", "5,0,2.5,3,1.75,0"]
        (folder / "episodes.csv").write_text("\n".join(rows) + "\n")


def unpacked(archives: Path, folder: Path) -> dict[str, str]:
    """The files, with their texts, and folders of an unpacked study."""
    archive.unpack(archives, folder)
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else ""
        for path in folder.rglob("*")
        if path.is_file() or not list(path.iterdir())
    }


def test_what_a_report_reads_is_kept_of_runs_that_have_ended(tmp_path: Path) -> None:
    study = tmp_path / "study"
    for name in ("done", "running", "diverged"):
        made_run(study / name, name)
    made_run(study / "diverged-at-once", "diverged", episodes=False)
    (study / "done" / "curvature.csv").write_text("kept")
    (study / "done" / "train.log").write_text("left out")
    assert archive.pack(study, tmp_path / "archives") == 3
    files = unpacked(tmp_path / "archives", tmp_path / "again")
    assert {name.split("/")[0] for name in files} == {"done", "diverged", "diverged-at-once"}
    assert [name for name in files if "checkpoints" in name] == ["done/checkpoints/step_000000005"]
    assert files["done/curvature.csv"] == "kept"
    assert "done/train.log" not in files
    rows = ["agent_step,raw_return,wall_time_s,score_wraps", "2,1.5,0,1", "5,2.5,1.75,0"]
    assert files["done/episodes.csv"].splitlines() == rows
    assert files["diverged-at-once/instruments.csv"].endswith("norm/srank,5,0.25\n")


def test_a_new_archive_has_a_new_number_and_the_new_runs(tmp_path: Path) -> None:
    study, archives = tmp_path / "study", tmp_path / "archives"
    for number, name in enumerate(["one", "two", "three"], 1):
        made_run(study / name, "done")
        assert archive.pack(study, archives) == 1
        assert (archives / f"runs_{number}.tar.xz").exists()
    (archives / "runs_2.tar.xz").rename(archives / "runs_2.tar.xz.bak")
    last = (archives / "runs_3.tar.xz").read_bytes()
    assert archive.pack(study, archives) == 1
    assert (archives / "runs_3.tar.xz").read_bytes() == last
    assert len(unpacked(archives, tmp_path / "again")) == 3 * 5


def test_a_pack_that_fails_leaves_no_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_run(tmp_path / "study" / "one", "done")

    def interrupted(run: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(archive, "instruments", interrupted)
    with pytest.raises(KeyboardInterrupt):
        archive.pack(tmp_path / "study", tmp_path / "archives")
    assert not list((tmp_path / "archives").iterdir())


def test_an_existing_folder_is_not_unpacked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["archive.py", "unpack", str(tmp_path), str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        archive.main()
    assert capsys.readouterr().err.endswith("exists; unpack into a new folder\n")
