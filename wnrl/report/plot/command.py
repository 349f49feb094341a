"""`wnrl plot RUN_DIR ... [--out curve.png]`: draw the learning curves of runs.

Flags are checked before matplotlib is imported, which takes a second.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wnrl._settings import UsageError
from wnrl._settings.later import Later
from wnrl.train.flags import Parser, add_import
from wnrl.train.foreign_text import visible
from wnrl.train.process.output import all_printed
from wnrl.train.process.short_command import run_command
from wnrl.train.process.stop_signals import StopSignals
from wnrl.train.storage.run_folder import CURVE

if TYPE_CHECKING:
    from wnrl.report.plot import figure
else:
    figure = Later("wnrl.report.plot.figure")

SUFFIXES = (".png", ".svg", ".pdf")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw from the command line; return the exit code.

    0: done; 1: the picture, or the line about it, could not be written; 2: unusable input; 130, 143
    or 129: stopped by Ctrl-C, SIGTERM or SIGHUP.
    """
    signals = StopSignals("wnrl.plot: stopped without a picture")
    return run_command("wnrl.plot", command_parser, _draw, arguments, signals)


def _draw(given: dict[str, Any]) -> int:
    folders = [Path(name) for name in given["run_dir"]]
    out = Path(given["out"] or folders[0] / CURVE)
    if out.suffix not in SUFFIXES:
        raise UsageError(
            f"--out {visible(out)}: the name must end in {', '.join(SUFFIXES[:-1])} or "
            f"{SUFFIXES[-1]}, which says what kind of picture it is"
        )
    print(figure.draw(folders, out))
    return 0 if all_printed() else 1


def command_parser() -> Parser:
    """Return the parser of the command."""
    parser = Parser(
        prog="wnrl plot",
        description="Draw the learning curves of runs. Runs of the same settings with several "
        "seeds are one line, their mean, with a 95% interval.",
        allow_abbrev=False,
    )
    parser.add_argument("run_dir", nargs="+", help="folders of runs, or folders that contain runs")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="the picture, .png, .svg or .pdf [default: curve.png in the first folder]",
    )
    add_import(parser)
    return parser
