"""What a folder or a file names is never imported; what somebody names or installs is."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium
import pytest

from wnrl import evaluate
from wnrl._settings import UsageError
from wnrl.compare import command as compare
from wnrl.compare.grid import make_grid, train_arguments
from wnrl.config import make_config
from wnrl.nn.norms.catalogue import NORMS
from wnrl.report.comparison import DEFAULT_QUESTION
from wnrl.report.find_runs import remember
from wnrl.train import command
from wnrl.train.storage.run_folder import read_config

TOY = ["--env=toy/Catch", "--steps=40", "--no-calibrate", "--eval-every-steps=0"]
SHORT = ["--steps=300", "--warmup-steps=100", "--no-calibrate", "--eval-every-steps=0"]
REGISTERS = """
import gymnasium, pathlib
pathlib.Path(__file__).with_suffix(".imported").touch()
gymnasium.register("Pole-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=20)
"""
PLUGIN = """
from wnrl.nn import register_norm
from wnrl.nn.norms.catalogue import get_norm
register_norm(get_norm("weight").derived("plugged"))
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


ID_ALONE = ["--import=some_poles", "--env=Pole-v0", *SHORT]
OWN_NORM = [*TOY, "--import=some_parts", "--norm=plugged"]


def test_a_run_keeps_the_names_of_its_modules_and_its_commands_give_them(
    run: Path, module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads((run / "config.json").read_text())["modules"] == ["some_poles"]
    capsys.readouterr()
    assert command.main([*ID_ALONE, f"--run-dir={tmp_path / 'b'}"]) == 0
    out = capsys.readouterr().out
    assert f"wnrl.evaluate {tmp_path / 'b'} --import some_poles" in out
    assert f"--resume {tmp_path / 'b'} --import some_poles --steps" in out


def test_a_folder_only_says_which_modules_it_was_started_with(
    module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = module.with_name("some_parts.py")
    parts.write_text(PLUGIN)
    for name, flags in (("some_poles", ID_ALONE), ("some_parts", OWN_NORM)):
        run = tmp_path / name
        assert command.main([*flags, f"--run-dir={run}"]) == 0
        _forget(module)
        sys.modules.pop("some_parts", None)
        NORMS.pop("plugged", None)
        capsys.readouterr()
        assert evaluate.main([str(run)]) == 2
        assert command.main(["--resume", str(run), "--steps=400"]) == 2
        for line in capsys.readouterr().err.splitlines():
            assert f"the run was started with --import {name}: if you trust that, add it" in line
        assert not imported(module)


def test_a_report_is_not_replaced_by_one_without_its_runs(
    module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module.with_name("some_parts.py").write_text(PLUGIN)
    out, run = tmp_path / "out", tmp_path / "out" / "run"
    assert command.main([*OWN_NORM, f"--run-dir={run}"]) == 0
    remember(out, {run: read_config(run)}, (), DEFAULT_QUESTION)
    assert compare.main(["--import=some_parts", "--report-only", str(out)]) == 0
    before = (out / "summary.md").read_bytes()
    sys.modules.pop("some_parts", None)
    NORMS.pop("plugged", None)
    capsys.readouterr()
    assert compare.main(["--report-only", str(out)]) == 2
    assert "the run was started with --import some_parts: if you" in capsys.readouterr().err
    assert (out / "summary.md").read_bytes() == before


def test_the_current_folder_may_hold_a_module_however_the_command_was_started(
    module: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(module.parent)
    monkeypatch.setattr(sys, "path", [x for x in sys.path if x not in ("", str(module.parent))])
    assert command.main(["--import", "some_poles", "--list-norms"]) == 0
    assert imported(module)


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


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that installs a package with the source of its plugin."""
    packages = tmp_path / "packages"

    def installed(source: str) -> None:
        information = packages / "some_parts-1.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: some-parts\n")
        (information / "entry_points.txt").write_text("[wnrl.plugins]\nany = some_parts\n")
        (packages / "some_parts.py").write_text(source)
        monkeypatch.syspath_prepend(packages)

    yield installed
    sys.modules.pop("some_parts", None)
    NORMS.pop("plugged", None)


def test_a_plugin_adds_a_normalization_to_every_command(
    install: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    assert command.main([*TOY, "--norm=plugged", f"--run-dir={run}"]) == 2
    assert "'plugged'" in capsys.readouterr().err
    install(PLUGIN)
    assert command.main([*TOY, "--norm=plugged", f"--run-dir={run}"]) == 0
    assert evaluate.main([run, "--episodes=1"]) == 0


def test_a_run_whose_plugin_is_gone_names_the_flag_that_helps(
    install: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(PLUGIN)
    run = str(tmp_path / "run")
    assert command.main([*TOY, "--norm=plugged", f"--run-dir={run}"]) == 0
    NORMS.pop("plugged")  # as in a process without it: the module is imported already
    assert evaluate.main([run, "--episodes=1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "norm 'plugged' is unknown" in said
    assert said.endswith("; if a module of yours registers it, name it with --import MODULE")


def test_a_plugin_that_cannot_be_imported_names_its_package(
    install: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("raise SystemExit('no licence')")
    assert command.main([*TOY, f"--run-dir={tmp_path / 'run'}"]) == 2
    assert capsys.readouterr().err == (
        "wnrl.train: cannot import some_parts, the wnrl plugin of package some-parts: "
        "SystemExit: no licence; mend the package, or pip uninstall some-parts\n"
    )
