"""Ctrl-C while a command imports what it needs, which takes seconds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wnrl

TRAIN = ["--env=toy/Catch", "--run-dir=run"]
NOTHING_LOST = "wnrl.train: stopped before the training began; nothing is lost"
COMMANDS = {  # what begins, and its line
    "train": (["-m", "wnrl.train", *TRAIN], NOTHING_LOST),
    "compare": (
        ["-m", "wnrl.compare", "--env=toy/Catch", "--dry-run"],
        "stopped; to continue, repeat the command: python -m wnrl.compare --env=toy/Catch "
        "--dry-run",
    ),
    "evaluate": (["-m", "wnrl.evaluate", "nowhere"], "wnrl.evaluate: stopped without a result"),
    "console script": (
        ["-c", "import sys, wnrl; sys.exit(wnrl.main())", "train", *TRAIN],
        NOTHING_LOST,
    ),
}
LIMIT_S = 60.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("command", "signum"),
    [
        *((name, signal.SIGINT) for name in COMMANDS),
        ("train", signal.SIGTERM),
        ("train", signal.SIGHUP),
    ],
)
def test_a_signal_within_the_imports_ends_a_command_in_one_line(
    command: str, signum: signal.Signals, tmp_path: Path
) -> None:
    words, line = COMMANDS[command]
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(wnrl.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # The tests may run under nohup.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    deadline = time.monotonic() + LIMIT_S
    loaded = Path(f"/proc/{process.pid}/maps")
    while "libtorch" not in loaded.read_text():  # it takes a second or more from here
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signum)
    out, err = process.communicate(timeout=LIMIT_S)
    assert (out, err.decode()) == (b"", f"{line}\n")
    assert process.returncode == 128 + signum
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_that_an_environment_raises_ends_a_command_in_one_line(tmp_path: Path) -> None:
    """Some simulators handle Ctrl-C themselves."""
    (tmp_path / "interrupted.py").write_text("def main(arguments): raise KeyboardInterrupt\n")
    code = (
        f"import sys; sys.path.append({str(tmp_path)!r}); from wnrl.train.process import entry; "
        "sys.exit(entry.run('wnrl.train', 'interrupted', []))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (128 + signal.SIGINT, "")
    assert done.stderr == "wnrl.train: stopped by a KeyboardInterrupt\n"


def test_a_command_begins_within_few_imports() -> None:
    """Before them Ctrl-C ends in Python's own traceback."""
    code = (
        "import sys, wnrl.train, wnrl.evaluate; "
        "print([name for name in ('torch', 'typing') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
