"""The frame of the commands that do one thing and end: signals, flags and unusable input.

`python -m wnrl.train` and `wnrl.compare` have frames of their own.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from wnrl._settings import UsageError
from wnrl.train.exit_codes import ExitCode
from wnrl.train.flags import Parser, import_named, one_line
from wnrl.train.process.stop_signals import StopSignals
from wnrl.train.storage.atomic_files import StorageError


def run_command(
    program: str,
    parser: Callable[[], Parser],
    work: Callable[[dict[str, Any]], int],
    arguments: Sequence[str] | None,
    signals: StopSignals,
) -> int:
    """Parse the flags and do the work; return the exit code.

    Args:
        program: begins the line about unusable input, or about a file that cannot be written.
        parser: called when the modules of `--import` have registered what they bring.
        work: takes the flags' values and returns the exit code.
        arguments: of the command line; None for those of this process.
        signals: installed while the command runs.
    """
    with signals.installed():
        try:
            arguments = sys.argv[1:] if arguments is None else arguments
            import_named(arguments)
            return work(parser().parse(arguments))
        except UsageError as error:
            return _refused(program, error, ExitCode.UNUSABLE)
        except StorageError as error:
            return _refused(program, error, ExitCode.FAILED)


def _refused(program: str, error: Exception, exit_code: ExitCode) -> int:
    print(f"{program}: {one_line(error)}", file=sys.stderr)
    return exit_code
