"""`python -m wnrl.compare.jobs.tether PARENT_PID COMMAND ...`: a command that is told when its
parent is gone.

However its parent ends, kill -9 included, the command gets SIGTERM, at which a run writes a
checkpoint and ends. Nothing of it is left to fight with a new parent over a folder. On Linux; on
other systems it is the command alone. Imports nothing: it becomes the command at once.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # prctl(2); kept across execve


def tethered(command: Sequence[str]) -> list[str]:
    """The command line that runs a command tethered to this process.

    It has to be started by a thread that lives as long as the process: the main one.
    """
    return [sys.executable, "-m", "wnrl.compare.jobs.tether", str(os.getpid()), *command]


def main(arguments: Sequence[str]) -> NoReturn:
    """Become the command, or end if the parent is gone already."""
    parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != int(parent):  # it ended before it could be asked for
            sys.exit(128 + signal.SIGTERM)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
