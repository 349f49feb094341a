"""Ctrl-C while a command imports what it needs, which takes seconds."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMANDS = {
    "train": ["-m", "wnrl.train", "--list-norms"],
    "compare": ["-m", "wnrl.compare", "--help"],
    "evaluate": ["-m", "wnrl.evaluate", "nowhere"],
    "console script": ["-c", "import sys, wnrl; sys.exit(wnrl.main())", "train", "--list-norms"],
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
    command: str, signum: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, *COMMANDS[command]],
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
    name = "train" if command == "console script" else command
    assert (out, err) == (b"", f"wnrl.{name}: stopped\n".encode())
    assert process.returncode == 128 + signum


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
