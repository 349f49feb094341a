"""Mutated inputs: no traceback, no hang, nothing executed, nothing outside the folder.

`pytest tests/fuzz --fuzz 3000` is the long form.

The commands run in this process. Training stops after a few steps, and figures are not drawn.
"""

import contextlib
import io
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import mutations
import pytest
import torch

from wnrl import evaluate
from wnrl.compare import command as compare
from wnrl.compare import final_report
from wnrl.compare.grid import make_grid
from wnrl.config import fields_of
from wnrl.doctor import command as doctor
from wnrl.report.comparison import DEFAULT_QUESTION
from wnrl.report.find_runs import remember
from wnrl.train import command
from wnrl.train import run as train_run
from wnrl.train.exit_codes import ExitCode

HANG_S = 10
LONGEST_LINE = 300
CHUNK = 100  # as in conftest

Main = Callable[[list[str]], int]


class Hang(BaseException):
    """A command took longer than `HANG_S`; no `except Exception` catches it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a comparison of three runs, with checkpoints and a record."""
    out = tmp_path_factory.mktemp("whole")
    base = {"warmup_steps": 10, "hidden": 8, "eval_every_steps": 20, "eval_episodes": 1}
    settings = {**base, "steps": 40, "checkpoint_every_steps": 20, "log_every_steps": 10}
    grid = make_grid(
        settings, envs=["toy/Catch"], norms=["none", "weight"], sweep={}, seeds=[1], out=out
    )
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    common = ["--env=toy/Catch", *flags, "--seed=1", "--threads=1", "--no-calibrate"]
    for planned in grid:
        where = [f"--norm={planned.config.run.norm}", f"--run-dir={planned.folder}"]
        assert command.main([*common, *where]) == 0
        (planned.folder / "train.log").write_text("done\n")
    remember(out, {planned.folder: planned.config for planned in grid}, [], DEFAULT_QUESTION)
    return out


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Prepare a folder that holds a canary module, and files that nobody may touch."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("mine")
    canary = f"import pathlib; pathlib.Path({str(tmp_path / 'canary')!r}).touch()"
    (tmp_path / f"{mutations.CANARY}.py").write_text(canary)
    (tmp_path / "work").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(final_report, "write_figures", lambda out, comparison: [])
    monkeypatch.setattr(final_report, "write_page", lambda out, *_: out / "report.html")
    monkeypatch.setattr(doctor, "examine", lambda: iter(()))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no power cut here
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def damage(random: Random, out: Path, place: Path) -> None:
    """Mutate one file in a comparison's folder."""
    run = random.choice(sorted(path.parent for path in out.rglob("config.json")))
    checkpoint = max((run / "checkpoints").glob("step_*"))
    if random.random() < 0.3:  # without another to fall back to
        shutil.rmtree(min((run / "checkpoints").glob("step_*")))
    tables = [run / name for name in ("episodes.csv", "evaluations.csv", "timings.csv")]
    everything = sorted(path for path in run.rglob("*"))
    actions: tuple[Callable[[], Any], ...] = (
        lambda: mutations.in_json(random, run / "config.json"),
        lambda: mutations.in_json(random, run / "config.json"),
        lambda: mutations.in_json(random, out / "compare.json"),
        lambda: mutations.in_json(random, run / "status.json"),
        lambda: mutations.in_table(random, random.choice(tables)),
        lambda: mutations.in_manifest(random, checkpoint),
        lambda: mutations.in_checkpoint(random, checkpoint, place / "canary"),
        lambda: mutations.in_checkpoint(random, checkpoint, place / "canary"),
        lambda: mutations.in_place(random, random.choice(everything), place / "outside"),
    )
    random.choice(actions)()


def folder_input(random: Random, whole: Path, place: Path) -> tuple[Main, list[str]]:
    """Return a command that reads a damaged folder."""
    out = place / "work" / "out"
    shutil.copytree(whole, out)
    run = random.choice(sorted(path.parent for path in out.rglob("config.json")))
    damage(random, out, place)
    grid = ["--env", "toy/Catch", "--steps=44", "--seeds=1", "--no-calibrate", "--dry-run"]
    commands: tuple[tuple[Main, list[str]], ...] = (
        (command.main, ["--resume", str(run), "--steps=44", "--no-calibrate"]),
        (command.main, ["--resume", str(run), "--steps=44", "--no-calibrate"]),
        (evaluate.main, [str(run), "--episodes=1"]),
        (compare.main, ["--report-only", str(out)]),
        (compare.main, [*grid, "--warmup-steps=10", "--hidden=8", f"--out={out}"]),
    )
    return random.choice(commands)


def flag_input(random: Random, place: Path) -> tuple[Main, list[str]]:
    """Return a command with mutated flags, or a mutated file of settings."""
    names = [name for name in fields_of("dqn", "weight") if name not in ("run_dir", "calibrate")]
    values = ["toy/Catch", "CartPole-v1", "dqn", "ppo", "layer", "adam", "nature", "norm.eps=1"]
    flags = [f"--{name.replace('_', '-')}" for name in names]
    if random.random() < 0.3:
        file = place / "work" / "run.toml"
        file.write_bytes(mutations.toml(random, names, values))
        new = random.choice((["--run-dir=new"], ["--env=toy/Catch", "--run-dir=new"]))
        main = random.choice((command.main, command.main, compare.main))
        tail = ["--dry-run", "--no-calibrate"] if main is compare.main else new
        return main, ["--config", str(file), *tail]
    kinds: tuple[tuple[Main, list[str], list[str]], ...] = (
        (command.main, [*flags, "--config", "--resume", "--norm.eps"], ["--run-dir=new"]),
        (
            compare.main,
            [*flags, "--seeds", "--sweep", "--jobs", "--only", "--out", "--report-only"],
            ["--dry-run", "--no-calibrate"],
        ),
        (evaluate.main, ["--episodes", "--epsilon", "--seed", "--device", "--video"], ["missing"]),
        (doctor.main, ["--help", "--x"], []),
    )
    main, flags, tail = random.choice(kinds)
    return main, [*mutations.command_line(random, flags, values), *tail]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check(main: Main, arguments: list[str]) -> str:
    """Run a command; return what is wrong with how it ended, empty if nothing is."""

    def hang(*_: object) -> None:
        raise Hang

    out, err = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANG_S)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("always")
            code: Any = main(arguments)
    except SystemExit as error:
        code = error.code
        if code not in (0, None):
            return f"SystemExit({code!r}): {err.getvalue()[-300:]}"
    except Hang:
        return "hang"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    lines = err.getvalue().splitlines()
    if code not in (0, 1, 2, ExitCode.NOT_FINITE):
        return f"exit code {code}"
    if code == 2 and len(lines) != 1:
        return f"{len(lines)} lines: {lines[:3]}"
    if code and any(len(line) > LONGEST_LINE for line in lines):
        return f"a line of {max(map(len, lines))} characters: {lines[0][:100]}"
    return ""


def try_input(seed: int, whole: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the input of a seed; return what went wrong."""
    random = Random(seed)
    untouched = content(place / "outside")
    with monkeypatch.context() as patch:
        if random.random() < 0.6:
            main, arguments = folder_input(random, whole, place)
        else:
            patch.setattr(train_run, "_train", lambda *_: iter(()))
            main, arguments = flag_input(random, place)
        problem = check(main, arguments)
    if content(place / "outside") != untouched:
        problem = "a file outside was changed"
    if mutations.CANARY in sys.modules:
        problem = "the canary was imported"
    for path in (place / "work").iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    beyond = sorted(path.name for path in place.iterdir())
    if beyond != sorted(["outside", f"{mutations.CANARY}.py", "work"]):
        problem = f"a file outside was made: {beyond}"
    if (place / "canary").exists():
        problem = "the canary was executed"
        (place / "canary").unlink()
    shown = [argument[:60] for argument in arguments]
    return f"seed {seed}: {main.__module__} {shown}: {problem}" if problem else ""


def run_seeds(seeds: range, whole: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return [p for seed in seeds if (p := try_input(seed, whole, place, monkeypatch))]


@pytest.mark.slow
def test_no_mutated_input_ends_in_a_traceback(
    fuzz_chunk: int, whole: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = range(fuzz_chunk * CHUNK, (fuzz_chunk + 1) * CHUNK)
    assert run_seeds(seeds, whole, place, monkeypatch) == []
