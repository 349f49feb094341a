"""What a folder or a file names is never imported; what the person at the keyboard names is."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from wnrl import evaluate
from wnrl._settings import UsageError
from wnrl.compare import command as compare
from wnrl.compare.grid import make_grid, train_arguments
from wnrl.config import make_config
from wnrl.train import command

SHORT = ["--steps=300", "--warmup-steps=100", "--no-calibrate", "--eval-every-steps=0"]
REGISTERS = """
import gymnasium, pathlib
pathlib.Path(__file__).with_suffix(".imported").touch()
gymnasium.register("Pole-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=20)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the module `some_poles`, which any import of that name finds, here and in a child."""
    path = tmp_path / "modules" / "some_poles.py"
    path.parent.mkdir()
    path.write_text(REGISTERS)
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setenv("PYTHONPATH", str(path.parent), prepend=":")
    yield path
    _forget(path)


def _forget(path: Path) -> None:
    """Undo an import, as in a new process."""
    sys.modules.pop(path.stem, None)
    gymnasium.registry.pop("Pole-v0", None)
    path.with_suffix(".imported").unlink(missing_ok=True)


def imported(path: Path) -> bool:
    return path.with_suffix(".imported").exists()


@pytest.fixture
def run(module: Path, tmp_path: Path) -> Path:
    """Train a run on an environment of the module, then forget the module."""
    folder = tmp_path / "out" / "run"
    assert command.main(["--env=some_poles:Pole-v0", *SHORT, f"--run-dir={folder}"]) == 0
    assert imported(module)
    _forget(module)
    return folder


@pytest.mark.parametrize("env", ["some_poles:Pole-v0", "some_poles:CartPole-v1"])
def test_reading_a_folder_imports_nothing_that_it_names(
    env: str, run: Path, module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((run / "config.json").read_text())
    config["run"]["env"] = env
    (run / "config.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert evaluate.main([str(run)]) == 2
    assert command.main(["--resume", str(run), "--steps=400"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert all(f"'{env}' needs the module some_poles" in error for error in errors)
    assert all("add --import some_poles" in error for error in errors)
    assert not imported(module)


def test_a_report_needs_no_environment(
    run: Path, module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(["--report-only", str(run.parent)]) == 0
    assert "some_poles:Pole-v0" in capsys.readouterr().out
    assert not imported(module)


def test_a_file_and_a_python_call_import_nothing(
    module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text('env = "some_poles:CartPole-v1"\n')
    for main, out in ((command.main, "--run-dir"), (compare.main, "--out")):
        assert main(["--config", str(file), *SHORT, f"{out}={tmp_path / 'new'}"]) == 2
        assert "add --import some_poles (in Python: import some_poles)" in capsys.readouterr().err
    with pytest.raises(UsageError, match="needs the module some_poles"):
        make_config(env="some_poles:Pole-v0")
    assert not imported(module)
    assert not (tmp_path / "new").exists()


def test_an_imported_module_serves_a_run_to_its_end(
    run: Path, module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--resume", str(run), "--import=some_poles", "--steps=400"]) == 0
    assert f"wnrl.evaluate {run} --import some_poles" in capsys.readouterr().out
    _forget(module)
    assert evaluate.main([str(run), "--import", "some_poles", "--episodes=2"]) == 0
    assert "2 episodes" in capsys.readouterr().out


@pytest.mark.slow
def test_a_comparison_passes_its_modules_on(
    module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--env=some_poles:Pole-v0",
        "--norm=none",
        "--seeds=1",
        f"--out={tmp_path / 'out'}",
    ]
    short = [argument for argument in SHORT if argument != "--no-calibrate"]
    assert compare.main([*arguments, *short]) == 0  # measured and trained in children
    assert compare.main([*arguments, *short, "--steps=400"]) == 0  # resumed in a child
    assert compare.main([*arguments, *short, "--steps=500", "--dry-run"]) == 0
    assert "401 of 500" in capsys.readouterr().out


def test_a_run_of_a_grid_imports_what_the_grid_imported(module: Path, tmp_path: Path) -> None:
    import some_poles  # type: ignore[import-not-found]  # noqa: F401  # the fixture wrote it

    planned = make_grid(
        {},
        envs=["some_poles:Pole-v0"],
        norms=["none"],
        sweep={},
        seeds=[1],
        out=tmp_path,
        modules=("some_poles",),
    )[0]
    for resume in (False, True):
        assert train_arguments(planned, resume=resume)[0] == "--import=some_poles"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise ValueError('a mistake')", "ValueError: a mistake"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError: invalid syntax"),
        (None, "ModuleNotFoundError: No module named 'some_poles'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(
    text: str | None, reason: str, module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module.write_text(text) if text else module.unlink()
    for main in (command.main, compare.main, evaluate.main):
        assert main(["--import", "some_poles"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"cannot import the module 'some_poles': {reason}" in error
