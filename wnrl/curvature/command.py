"""`python -m wnrl.curvature RUN_DIR [--checkpoint STEP] [--out FOLDER]`: measure a checkpoint.

The run does not change. Flags are checked before torch is imported, which takes seconds.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wnrl._settings import UsageError
from wnrl._settings.later import Later
from wnrl.train.flags import Parser, add_import
from wnrl.train.process.short_command import run_command
from wnrl.train.process.stop_signals import StopSignals

if TYPE_CHECKING:
    from wnrl.curvature import table
else:
    table = Later("wnrl.curvature.table")

_LEAST = {"rows": 4, "iterations": 1, "small_rows": 1, "seed": 0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure from the command line; return the exit code.

    0: done; 1: the result could not be written; 1 or 4: the environment failed; 2: unusable input;
    130, 143 or 129: stopped by Ctrl-C, SIGTERM or SIGHUP.
    """
    signals = StopSignals("wnrl.curvature: stopped without a result")
    return run_command("wnrl.curvature", command_parser, _measure, arguments, signals)


def _measure(given: dict[str, Any]) -> int:
    _check(given)
    return table.measure_and_print(given)


def command_parser() -> Parser:
    """Return the parser of the command."""
    parser = Parser(
        prog="python -m wnrl.curvature",
        description="Measure the curvature, the gradient noise and its covariance of the loss that "
        "the next update of a run would minimize (see docs/conditioning.md).",
        allow_abbrev=False,
    )
    parser.add_argument("run_dir", help="folder of the run")
    parser.add_argument(
        "--checkpoint",
        metavar="INT",
        type=int,
        help="agent steps of the checkpoint [default: the newest]",
    )
    for flag, default, meaning in (
        ("--rows", 512, "transitions in the batch"),
        ("--iterations", 30, "iterations of Lanczos for each matrix"),
        ("--small-rows", 32, "transitions in a small batch, for the noise; at most half of --rows"),
        ("--seed", 0, "random seed of Lanczos's start, of the small batches and of play"),
    ):
        parser.add_argument(
            flag,
            metavar="INT",
            type=int,
            default=default,
            help=f"{meaning} [default {default}]",
        )
    parser.add_argument(
        "--out", metavar="FOLDER", help="folder for the readings as curvature_step_*.csv and .json"
    )
    add_import(parser)
    return parser


def _check(given: dict[str, Any]) -> None:
    """Raise UsageError if a number is out of range."""
    for name, least in _LEAST.items():
        if given[name] < least:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} {given[name]} is out of range; it must be at least {least}")
    if given["small_rows"] > given["rows"] // 2:
        raise UsageError(
            f"--small-rows {given['small_rows']} is out of range; it must be at most half of "
            f"--rows {given['rows']}"
        )
