"""A resumed run goes on with the settings of its checkpoint, and says what else has changed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from agent_runs import forget_records

from wnrl._settings import SettingError
from wnrl.config import make_config
from wnrl.train import command
from wnrl.train.storage import run_record
from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.run_record import changes, check_settings, make_record

RUN = ["--env=toy/Catch", "--warmup-steps=50", "--no-calibrate", "--eval-every-steps=0"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 100 agent steps."""
    folder = tmp_path_factory.mktemp("finished")
    assert command.main([*RUN, "--steps=100", "--norm=group", f"--run-dir={folder}"]) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def edit(run: Path, part: str, name: str, value: Any) -> None:
    file = run / "config.json"
    saved = json.loads(file.read_text())
    saved[part][name] = value
    file.write_text(json.dumps(saved))


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("agent", "gamma", 0.5, "--gamma is 0.5 in config.json, but the checkpoint of agent step "
         "100 was trained with 0.99: set it back to 0.99, or start a new run with 0.5"),
        ("agent", "learning_rate", 1e-2, "--learning-rate is 0.01 in config.json"),
        ("agent", "optimizer", "rmsprop", "--optimizer is rmsprop in config.json, but"),
        ("run", "threads", 2, "--threads is 2 in config.json"),
        ("run", "seed", 3, "--seed is 3 in config.json"),
        ("norm", "groups", 4, "--norm.groups is 4 in config.json, but"),
    ],
)  # fmt: skip
def test_a_setting_edited_in_config_json_is_refused_by_name(
    run: Path, part: str, name: str, value: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(run, part, name, value)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert command.main(["--resume", str(run), "--steps=120"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed <= {"status.json", ".lock"}


def test_a_setting_that_does_not_affect_learning_may_be_edited(run: Path) -> None:
    edit(run, "run", "log_every_steps", 7)
    assert command.main(["--resume", str(run), "--steps=120"]) == 0


def test_other_versions_commits_and_machines_are_named(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = run_record.software()["versions"]
    other = {"versions": {**versions, "torch": "9.9"}, "commit": "0123abcd"}
    monkeypatch.setattr(run_record, "software", lambda: other)
    capsys.readouterr()
    assert command.main(["--resume", str(run), "--steps=120"]) == 0
    notes = [x for x in capsys.readouterr().out.splitlines() if x.startswith("  note ")]
    assert len(notes) == 2
    assert f"torch 9.9 (was {versions['torch']}): results may differ" in notes[0]
    assert "commit 0123abcd (was " in notes[1]


def test_a_resume_on_the_same_software_notes_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert command.main(["--resume", str(run), "--steps=120"]) == 0
    assert "note" not in capsys.readouterr().out


def test_a_checkpoint_without_a_record_resumes(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_records(run)
    capsys.readouterr()
    assert command.main(["--resume", str(run), "--steps=120"]) == 0
    assert "note" not in capsys.readouterr().out
    saved = Checkpoints(run).latest()
    assert saved is not None
    assert saved.manifest.record["settings"]["norm"] == "group"


def test_the_machine_is_part_of_the_record() -> None:
    record = make_record(make_config(env="toy/Catch"))
    other = {**record, "machine": "Linux riscv64"}
    assert list(changes(record, other)) == [f"{record['machine']} (was Linux riscv64)"]


def test_settings_that_a_version_no_longer_has_are_ignored() -> None:
    config = make_config(env="toy/Catch")
    check_settings(config, {"settings": {"gone": 1, "gamma": 0.99}}, 10)
    with pytest.raises(SettingError, match="gamma"):
        check_settings(config, {"settings": {"gamma": 0.9}}, 10)
