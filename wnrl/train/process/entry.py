"""The start of a command's process, from before its imports to its exit code."""

import importlib
import signal
import sys
from collections.abc import Sequence

from wnrl.train.process.output import keep_output
from wnrl.train.process.stop_signals import SIGNALS, StopSignals


def run(program: str, module: str, arguments: Sequence[str]) -> int:
    """Import a command and run it.

    The imports take seconds; Ctrl-C ends the process within them too, in one line.

    Args:
        program: the command's name in messages, `wnrl.train`.
        module: the module that has its `main`.
        arguments: the command line after the program.

    Returns:
        The exit code.
    """
    keep_output()
    with StopSignals(f"{program}: stopped").installed():
        try:
            exit_code: int = importlib.import_module(module).main(arguments)
        except SystemExit as end:  # argparse printed its help
            exit_code = end.code if isinstance(end.code, int) else 0
    sys.stdout.flush()
    for signum in SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)  # no traceback while Python ends
    return exit_code
