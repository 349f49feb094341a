"""Commands whose output has no reader, is closed or is full."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_processes import (
    CommandProcess,
    close_output,
    fill_output,
    nobody_reads,
    nothing,
    show_ascii_only,
)

from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.csv_log import EPISODES

SHORT = ["--env=toy/Catch", "--warmup-steps=200", "--no-calibrate", "--eval-every-steps=0"]
SHORT += ["--steps=300", "--no-wall-time", "--update-period-steps=4"]
LOST = {"nobody reads": nobody_reads, "closed": close_output, "full": fill_output}


def episodes_of_a_run(folder: Path, before: Callable[[], None]) -> bytes:
    run = folder / "run"
    process = CommandProcess("train", *SHORT, f"--run-dir={run}", folder=folder, before=before)
    assert process.wait() == 0
    assert Checkpoints(run).latest() is not None
    return (run / EPISODES).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The episodes of a run whose output is read."""
    return episodes_of_a_run(tmp_path_factory.mktemp("whole"), nothing)


@pytest.mark.parametrize("lost", LOST)
def test_a_run_without_output_trains_and_saves_the_same(
    tmp_path: Path, lost: str, whole: bytes
) -> None:
    assert episodes_of_a_run(tmp_path, LOST[lost]) == whole
    run = tmp_path / "run"
    evaluate = CommandProcess("evaluate", run, "--episodes=3", folder=tmp_path, before=LOST[lost])
    assert evaluate.wait() == (1 if lost == "full" else 0)


@pytest.mark.parametrize("flag", ["--list-norms", "--help"])
@pytest.mark.parametrize("lost", ["nobody reads", "closed"])
def test_a_list_without_a_reader_is_no_error(tmp_path: Path, flag: str, lost: str) -> None:
    assert CommandProcess("train", flag, folder=tmp_path, before=LOST[lost]).wait() == 0


@pytest.mark.parametrize(
    "words", [("train", "--list-norms"), ("train", "--help"), ("doctor", "--help"), ("doctor",)]
)
def test_a_list_on_a_full_disk_is_one_line_and_exit_code_1(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    process = CommandProcess(*words, folder=tmp_path, before=fill_output)
    assert process.wait() == 1
    assert process.err == "wnrl: no more output is printed: No space left on device\n"


def test_what_an_output_cannot_show_is_escaped(tmp_path: Path) -> None:
    process = CommandProcess("train", "--env=Brëakout", folder=tmp_path, before=show_ascii_only)
    assert process.wait() == 2
    assert process.err.startswith(r"wnrl.train: unknown environment 'Br\xebakout'")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_a_pipe_that_is_cut_shows_no_traceback_even_while_python_ends(tmp_path: Path) -> None:
    shell = f"{sys.executable} -m wnrl.doctor --help 2>{tmp_path}/err | true; echo ${{PIPESTATUS}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert (tmp_path / "err").read_text() == ""
