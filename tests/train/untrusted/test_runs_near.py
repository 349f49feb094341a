"""A folder without a run: the line names the runs that may have been meant."""

from pathlib import Path

import pytest

from wnrl.train.untrusted import runs_near as module
from wnrl.train.untrusted.runs_near import runs_near


def run_in(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    return folder


def near(folder: Path) -> str:
    return runs_near(folder, "config.json")


def test_the_most_similar_path_comes_first_and_three_are_named(tmp_path: Path) -> None:
    others = [run_in(tmp_path / "Pong" / f"ppo-layer{k}" / "seed1") for k in range(3)]
    meant = run_in(tmp_path / "CartPole" / "ppo-weight-steps=20" / "seed1")
    line = near(tmp_path / "CartPole" / "ppo-weight" / "seed1")
    assert line == f"; there is a run in {meant}"  # CartPole is there, so Pong is not looked at
    line = near(tmp_path / "Cartpole" / "ppo-weight" / "seed1")
    assert line.startswith(f"; there are runs in {meant}, ")
    assert sum(str(other) in line for other in others) == 2


def test_a_folder_around_runs_names_them_but_nothing_inside_them(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs" / "a")
    run_in(run / "copy")
    assert near(tmp_path / "runs") == f"; there is a run in {run}"


def test_where_no_run_is_there_is_no_hint(tmp_path: Path) -> None:
    assert near(tmp_path / "nowhere") == ""
    assert near(Path("/nowhere/at/all")) == ""  # the whole machine is not searched


def test_a_relative_path_is_searched_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in(tmp_path / "runs" / "a")
    monkeypatch.chdir(tmp_path)
    for typed in ("run", "rnus/a", "runs/b"):
        assert near(Path(typed)) == "; there is a run in runs/a"


def test_a_path_that_no_folder_can_have_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert near(Path("a" * 300)) == ""


def test_a_large_folder_is_not_searched_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FOLDERS", 5)
    for k in range(9):
        run_in(tmp_path / "a" / f"run{k}")
    assert near(tmp_path / "a").startswith("; there are runs in ")
    run_in(tmp_path / "b" / "c" / "d" / "e" / "f" / "run")
    assert near(tmp_path / "b") == ""


def test_names_of_strangers_are_shown_on_one_line(tmp_path: Path) -> None:
    run_in(tmp_path / "a\nb")
    assert near(tmp_path) == f"; there is a run in {tmp_path}/a\\nb"
