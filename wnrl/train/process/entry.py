"""The start of a command's process, from before its imports to its exit code."""

import importlib
import signal
from collections.abc import Sequence

from wnrl.train.process.output import all_printed, keep_output
from wnrl.train.process.stop_signals import SIGNALS, StopSignals, write_line

ONLY_PRINT = ("wnrl.evaluate", "wnrl.doctor")  # a run's result is in its folder


def run(program: str, module: str, arguments: Sequence[str]) -> int:
    """Import a command and run it.

    The imports take seconds; Ctrl-C ends the process within them too, in one line.

    Args:
        program: the command's name in messages, `wnrl.train`.
        module: the module that has its `main`.
        arguments: the command line after the program.

    Returns:
        The exit code; 1 instead of 0 if a result, or the help, could not be printed.
    """
    keep_output()
    printed = program in ONLY_PRINT
    with StopSignals(f"{program}: stopped").installed():
        try:
            exit_code: int = importlib.import_module(module).main(arguments)
        except SystemExit as end:  # argparse printed its help
            printed, exit_code = True, end.code if isinstance(end.code, int) else 0
        except KeyboardInterrupt:  # of an environment that handles Ctrl-C itself
            write_line(f"{program}: stopped by a KeyboardInterrupt")
            exit_code = 128 + signal.SIGINT
    if not all_printed() and printed and exit_code == 0:
        exit_code = 1
    for signum in SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)  # no traceback while Python ends
    return exit_code
