"""`python -m wnrl.compare --env Breakout --norm none weight`: the command line of a comparison.

Flags are checked before torch and matplotlib are imported, which takes seconds.
"""

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wnrl._settings import UsageError
from wnrl._settings.later import Later
from wnrl.compare.flags import PROGRAM, parse_compare_flags
from wnrl.train.flags import import_named, one_line
from wnrl.train.foreign_text import quoted_line
from wnrl.train.process.stop_signals import StopSignals

if TYPE_CHECKING:
    from wnrl.compare import final_report, run_comparison
else:
    run_comparison = Later("wnrl.compare.run_comparison")
    final_report = Later("wnrl.compare.final_report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `wnrl.compare` from the command line and return its exit code.

    0: all runs are done. 1: a run diverged or failed for good. 2: the input cannot be used. 130,
    143, 129: stopped by Ctrl-C, SIGTERM or SIGHUP, with a checkpoint of every run.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    stopped = f"stopped; to continue, repeat the command: {PROGRAM} {quoted_line(arguments)}"
    signals = StopSignals(stopped)
    with signals.installed():
        try:
            modules = tuple(import_named(arguments))
            parsed = parse_compare_flags(arguments)._replace(
                modules=modules, command=_recorded(arguments)
            )
            if parsed.report_only is not None:
                final_report.write_report(parsed.report_only, parsed.options, list(parsed.sweep))
                return 0
            exit_code = run_comparison.compare(parsed, signals)
        except UsageError as error:
            print(f"wnrl.compare: {one_line(error)}", file=sys.stderr)
            return 2
    if signals.received:
        print(stopped, file=sys.stderr)
    return exit_code


def _recorded(arguments: Sequence[str]) -> str:
    """Return the command as one line; the processes of --only have the same."""
    return re.sub(r" --only[ =]\d+", "", f"{PROGRAM} {quoted_line(arguments)}")
