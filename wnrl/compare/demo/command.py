"""`wnrl demo [FOLDER]`: learn something in about a minute, and show it.

Flags are checked before torch is imported, which takes seconds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wnrl._settings.later import Later
from wnrl.train.flags import Parser
from wnrl.train.process.short_command import run_command
from wnrl.train.process.stop_signals import StopSignals

if TYPE_CHECKING:
    from wnrl.compare.demo import show
else:
    show = Later("wnrl.compare.demo.show")

FOLDER = "runs/demo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo from the command line; return the exit code.

    0: done; 1: a file could not be written; 2: unusable input; 5: another process uses the folder;
    130, 143 or 129: stopped by Ctrl-C, SIGTERM or SIGHUP.
    """
    signals = StopSignals("wnrl.demo: stopped before the training began; nothing is lost")

    def work(given: dict[str, Any]) -> int:
        return show.show(Path(given["folder"]), signals, overwrite=given["overwrite"])

    return run_command("wnrl.demo", command_parser, work, arguments, signals)


def command_parser() -> Parser:
    """Return the parser of the command."""
    parser = Parser(
        prog="wnrl demo",
        description="Train two small agents, draw their learning curves and record how they play. "
        "It takes about a minute on one CPU core.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "folder",
        nargs="?",
        default=FOLDER,
        help=f"folder for the runs and pictures [default {FOLDER}]",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="new demo that replaces the one in the folder"
    )
    return parser
