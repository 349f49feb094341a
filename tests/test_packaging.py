"""The packaging of `agents/`, and the console script. `test_install.py` builds and installs."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_the_listed_packages_are_the_folders() -> None:
    inside = [path.parent.relative_to(ROOT) for path in ROOT.glob("wnrl/**/__init__.py")]
    linked = [path.parent.relative_to(ROOT) for path in ROOT.glob("agents/**/__init__.py")]
    names = {".".join(path.parts) for path in inside}
    through_the_link = {".".join(("wnrl", *path.parts)) for path in linked}
    assert set(SETUPTOOLS["packages"]) == names | through_the_link


def test_the_link_leads_to_agents() -> None:
    link = ROOT / "wnrl" / "agents"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "agents"
    import wnrl.agents.dqn

    assert Path(wnrl.agents.dqn.__file__).resolve() == ROOT / "agents" / "dqn.py"


def test_constraints_pin_what_the_extras_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {entry.split(">=")[0].split(";")[0].strip() for entry in wanted}
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in pins if "==" in line and not line.startswith("#")}
    assert names <= pinned


POSIX_ONLY = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def test_no_module_needs_posix_to_be_imported() -> None:
    files = [*ROOT.glob("wnrl/**/*.py"), *ROOT.glob("agents/**/*.py")]
    assert len(files) > 150
    for file in files:
        for node in ast.parse(file.read_text()).body:  # those in functions are imported on use
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert POSIX_ONLY.isdisjoint(names), file


def wnrl_command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run what the console script runs."""
    code = "import sys; from wnrl import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_the_console_script_is_the_main_function() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"wnrl": "wnrl:main"}


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_the_console_script_lists_its_commands(arguments: list[str]) -> None:
    done = wnrl_command(*arguments)
    assert done.returncode == 0
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    folders = [path.parent.name for path in ROOT.glob("wnrl/*/__main__.py")]
    others = ["wnrl", "completion", "plot", "demo"]  # the first is the line of --version
    assert sorted(listed) == sorted([*others, *folders])
    assert "\n  doctor      check that training works on this machine\n" in done.stdout
    assert done.stderr == ""


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert wnrl_command("--version").stdout == f"wnrl {version}\n"
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [version]


@pytest.mark.parametrize(
    ("name", "hint"), [("trian", "; did you mean train?"), ("--env", "completion")]
)
def test_an_unknown_command_is_one_line_and_exit_code_2(name: str, hint: str) -> None:
    done = wnrl_command(name, "Breakout")
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"unknown command {name!r}; the commands are demo, train, " in done.stderr
    assert done.stderr.endswith(f"{hint}\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "text"),
    [
        (["train", "--list-norms"], 0, "weight-standardization: "),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in (
                (["train", "--steps=x"], 2, "wnrl.train: --steps takes a whole number"),
                (["evaluate", "nowhere"], 2, "wnrl.evaluate: no run in nowhere"),
                (["compare", "--report-only", "nowhere"], 2, "wnrl.compare: no run in nowhere"),
                (["doctor"], 0, "torch"),
            )
        ),
    ],
)
def test_the_console_script_passes_arguments_and_exit_code_on(
    arguments: list[str], exit_code: int, text: str
) -> None:
    done = wnrl_command(*arguments)
    assert done.returncode == exit_code, done.stderr
    assert text in done.stdout + done.stderr
