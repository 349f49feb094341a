"""Commands on folders with odd names: they work, and what they print is safe and can be pasted."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wnrl import evaluate
from wnrl.compare import command as compare
from wnrl.train import command
from wnrl.train import run as train_run

TOY = ["--env=toy/Catch", "--warmup-steps=100", "--no-calibrate", "--eval-every-steps=0"]
TOY.append("--update-period-steps=4")  # learning takes most of the time of a run
NAMES = (
    "two  spaces and it's $HOME|`<i>[d](e)*",
    "gr\u00f6\u00dfe gro\u0308\u00dfe",
    "x" * 200,
    "-dash",
)


def go(*arguments: object) -> int:
    return command.main([str(argument) for argument in arguments])


def printed_commands(out: str) -> dict[str, str]:
    return dict(re.findall(r"^  (evaluate|resume|watch) +(.*)$", out, re.MULTILINE))


def arguments_of(line: str) -> list[str]:
    """Return the arguments that bash reads in a line."""
    script = f"printf '%s\\0' {line}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    return [os.fsdecode(part) for part in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_in_an_odd_folder_prints_commands_that_can_be_pasted(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train_run, "is_atari", lambda env: True)  # whose end names a GIF
    assert go(*TOY, "--steps=200", f"--run-dir={name}") == 0
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    printed = printed_commands(out)
    assert set(printed) == {"evaluate", "resume", "watch"}
    assert Path(arguments_of(printed["watch"])[-1]).resolve() == (tmp_path / name).resolve()
    *program, flag, folder, steps, number = arguments_of(printed["resume"])
    assert (program, flag, steps) == (["python", "-m", "wnrl.train"], "--resume", "--steps")
    assert go(flag, folder, steps, number) == 0
    assert f"done at {int(number):,} of" in capsys.readouterr().out
    *program, folder, flag, gif = arguments_of(printed["evaluate"])
    assert (program, flag) == (["python", "-m", "wnrl.evaluate"], "--video")
    assert Path(gif).resolve() == (tmp_path / name / "play.gif").resolve()
    assert evaluate.main([folder, "--episodes=1"]) == 0
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


def test_the_module_of_a_run_can_be_pasted_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = "gymnasium.envs.classic_control:CartPoleEnv"
    text = f"import gymnasium\ngymnasium.register('Odd-v0', {make!r}, max_episode_steps=20)\n"
    (tmp_path / "odd poles.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    odd = [*TOY, "--env=odd poles:Odd-v0"]
    assert go(*odd, "--steps=120", f"--run-dir={tmp_path / 'run'}") == 0
    *_, folder, flag, module = arguments_of(printed_commands(capsys.readouterr().out)["evaluate"])
    assert evaluate.main([folder, flag, module, "--episodes=1"]) == 0


def test_the_error_about_a_folder_that_holds_a_run_can_be_pasted_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = "a  b"  # short: a long line is cut in the middle
    assert go(*TOY, "--steps=200", f"--run-dir={run}") == 0
    assert go(*TOY, "--steps=200", f"--run-dir={run}") == 2
    assert f"continue it with --resume '{run}', replace" in capsys.readouterr().err


@pytest.mark.parametrize("name", [b"\xff", b"\x1b[31m"])
def test_a_folder_that_no_terminal_can_show_is_refused_in_one_line(
    name: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
    assert command.main([*TOY, "--steps=200", f"--run-dir={folder}"]) == 2
    assert compare.main([*TOY, "--steps=200", f"--out={folder}"]) == 2
    assert evaluate.main([folder]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "wnrl.train",
        "wnrl.compare",
        "wnrl.evaluate",
    ]
    assert all(line.isprintable() for line in lines)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}])
def test_every_command_works_and_prints_without_a_locale(
    locale: dict[str, str], tmp_path: Path
) -> None:
    name = "gr\u00f6\u00dfe \u65e5\u672c"
    run, out = f"{name}/run", f"{name}/compare"
    lines = [
        ["wnrl.train", *TOY, "--steps=300", f"--run-dir={run}"],
        ["wnrl.train", f"--resume={run}", "--steps=600"],
        ["wnrl.evaluate", run, "--episodes=2"],
        ["wnrl.compare", *TOY, "--norm=none", "--seeds=1", "--steps=300", f"--out={out}"],
        ["wnrl.compare", f"--report-only={out}"],
    ]
    for line in lines:
        done = subprocess.run(
            [sys.executable, "-m", *line],
            cwd=tmp_path,
            env={**os.environ, **locale},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
        if "PYTHONIOENCODING" in locale:
            assert done.stdout.isascii()
    assert (tmp_path / out / "summary.md").exists()
