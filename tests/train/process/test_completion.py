"""Completion in a shell: commands, flags of the named agent and normalizations, choices, paths."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import wnrl

SCRIPT = f"#!{sys.executable}\nimport sys\nfrom wnrl import main\nsys.exit(main())\n"


def completed(line: str, folder: Path) -> list[str]:
    """Return what the console script answers to a shell, by argcomplete's protocol."""
    answer = folder / "answer"
    protocol = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **protocol, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        cwd=folder,
        check=True,
    )
    return [word.strip() for word in answer.read_text().split("\013")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("wnrl ", ["--help", "--version", *wnrl._COMMANDS]),
        ("wnrl compare --agent ppo --clip-ra", ["--clip-range", "--clip-range-decay"]),
        ("wnrl train --clip-ra", [""]),  # DQN has none
        ("wnrl train --norm=batch-renorm --norm.r-m", ["--norm.r-max"]),
        ("wnrl compare --norm weight layer-", ["layer-channel", "layer-plain"]),
        ("wnrl completion ba", ["bash"]),
        ("wnrl train --config ", ["run.toml"]),
        ("wnrl train --steps ", [""]),  # a number, not a file
    ],
)
def test_a_line_is_completed(line: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "run.toml").touch()
    assert [word for word in completed(line, tmp_path) if word != "answer"] == words


def test_every_command_completes_its_flags(tmp_path: Path) -> None:
    for command in sorted(set(wnrl._COMMANDS) - {"train", "compare"}):
        assert completed(f"wnrl {command} --he", tmp_path) == ["--help"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_with_the_printed_code(tmp_path: Path) -> None:
    script = tmp_path / "wnrl"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    lines = 'eval "$(wnrl completion bash)"; COMP_LINE="wnrl train --list"; COMP_POINT=17\n'
    lines += '_python_argcomplete wnrl; printf "%s\\n" "${COMPREPLY[@]}"'
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    shell = ["bash", "--norc", "-c", lines]
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["--list-norms"], done.stderr


def test_an_unknown_shell_is_one_line() -> None:
    shell = [sys.executable, "-c", SCRIPT, "completion", "tcsh"]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("wnrl.completion: argument shell: invalid choice: 'tcsh'")
    assert done.stderr.count("\n") == 1
