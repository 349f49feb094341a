"""The table of trackers, and what is said when a package is missing."""

import sys
import tomllib
from pathlib import Path

import pytest

from wnrl.compare.command import main as compare
from wnrl.config import NO_TRACKER, OPERATIONAL, fields_of, make_config
from wnrl.train.command import main as train
from wnrl.train.storage.run_record import make_record
from wnrl.train.tracking.catalogue import TRACKERS, check_tracker

ROOT = Path(__file__).parents[3]


def test_the_flag_names_the_trackers_and_each_has_an_extra() -> None:
    choices = fields_of("dqn")["track"].metadata["choices"]
    assert tuple(choices) == (NO_TRACKER, *TRACKERS)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"].keys() >= TRACKERS.keys()
    for name, record in TRACKERS.items():
        assert record.name == name
        assert project["optional-dependencies"][name][0].startswith(record.package)


def test_the_tracker_is_no_part_of_what_a_run_is() -> None:
    plain, tracked = make_config(), make_config(track="wandb", track_group="several")
    assert {"track", "track_group"} <= set(OPERATIONAL)
    assert plain.name == tracked.name
    assert make_record(plain) == make_record(tracked)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_one_line_before_anything_is_trained(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, TRACKERS[name].package, None)
    common = ["--env", "toy/Catch", "--agent", "a2c", "--steps", "100", "--track", name]
    for command, flag in ((train, "--run-dir"), (compare, "--out")):
        assert command([*common, flag, str(tmp_path / "runs")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--track {name} needs the package {TRACKERS[name].package}" in line
        assert f"pip install 'wnrl[{name}]'" in line
        assert not (tmp_path / "runs").exists()


def test_no_tracker_needs_no_package() -> None:
    check_tracker(NO_TRACKER)
