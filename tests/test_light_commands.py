"""What a command imports before it works: nothing that takes seconds, so that help is quick."""

import subprocess
import sys

import pytest

HEAVY = "torch numba gymnasium ale_py matplotlib jinja2 tensorboard PIL ray stable_baselines3 scipy"
ASK = f"""
import sys
from wnrl import main
exit_code = main()
print("heavy:", *sorted(set("{HEAVY}".split()) & set(sys.modules)), file=sys.stderr)
sys.exit(exit_code)
"""


def last_line(*arguments: str) -> tuple[int, str, list[str]]:
    """Run a command in a new process: exit code, standard output, lines of standard error."""
    run = subprocess.run(
        [sys.executable, "-c", ASK, *arguments], capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout, run.stderr.splitlines()


@pytest.mark.parametrize(
    "command", ["train", "compare", "evaluate", "doctor", "curvature", "export"]
)
def test_help_imports_nothing_heavy(command: str) -> None:
    exit_code, printed, errors = last_line(command, "--help")
    assert exit_code == 0
    assert printed.startswith(f"usage: python -m wnrl.{command} ")
    assert errors == ["heavy:"]


@pytest.mark.parametrize("command", ["plot", "demo"])
def test_help_of_a_command_of_the_console_script_imports_nothing_heavy(command: str) -> None:
    exit_code, printed, errors = last_line(command, "--help")
    assert (exit_code, errors) == (0, ["heavy:"])
    assert printed.startswith(f"usage: wnrl {command} ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--agent=ppo", "--norm=batch-renorm", "--help"],
        ["train", "--list-norms"],
    ],
)
def test_descriptions_of_agents_and_normalizations_import_nothing_heavy(
    arguments: list[str],
) -> None:
    exit_code, printed, errors = last_line(*arguments)
    assert exit_code == 0
    assert "--norm.r-max" in printed
    assert errors == ["heavy:"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["train", "--stepz=3"], "unknown argument '--stepz=3'"),
        (["train", "--norm=wieght"], "--norm 'wieght' is unknown"),
        (["train", "--learning-rate=fast"], "--learning-rate takes a number"),
        (["train", "--resume=nowhere", "--overwrite"], "give only one"),
        (["compare", "--seedz=3"], "unknown argument '--seedz=3'"),
        (["compare", "--norm=wieght"], "--norm 'wieght' is unknown"),
        (["evaluate", "nowhere", "--episodes=0"], "--episodes 0 is out of range"),
        (["curvature", "nowhere", "--rows=0"], "--rows 0 is out of range"),
        (["export", "nowhere", "--out=x", "--format=pt"], "--format 'pt' is unknown"),
    ],
)
def test_a_wrong_flag_is_refused_before_anything_heavy_is_imported(
    arguments: list[str], problem: str
) -> None:
    exit_code, _, errors = last_line(*arguments)
    assert exit_code == 2
    assert problem in errors[0]
    assert errors[1:] == ["heavy:"]


def test_completion_imports_nothing_heavy() -> None:
    """A person waits for it at every tab."""
    exit_code, printed, errors = last_line("completion", "bash")
    assert (exit_code, errors) == (0, ["heavy:"])
    assert "complete " in printed


def test_an_unknown_environment_is_refused_without_torch() -> None:
    exit_code, _, errors = last_line("train", "--env=Brekout")
    assert exit_code == 2
    assert errors[0].endswith("unknown environment 'Brekout'; did you mean Breakout?")
    assert "torch" not in errors[1].split()
