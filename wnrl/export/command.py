"""`python -m wnrl.export RUN_DIR --out FOLDER [--format ...] [--hub]`: export a run's policy.

The run does not change. Flags are checked before torch is imported, which takes seconds.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wnrl._settings import UsageError, nearest
from wnrl._settings.later import Later
from wnrl.train.flags import Parser, add_import
from wnrl.train.process.short_command import run_command
from wnrl.train.process.stop_signals import StopSignals

if TYPE_CHECKING:
    from wnrl.export import folder
else:
    folder = Later("wnrl.export.folder")

PROGRAM = "wnrl.export"
FORMATS = ("safetensors", "torch-export", "onnx", "sb3", "card")
_DEPRECATED = "torchscript"


def main(arguments: Sequence[str] | None = None) -> int:
    """Export from the command line; return the exit code.

    0: done; 1 or 4: the environment failed; 2: unusable input, or files that cannot be written;
    130, 143 or 129: stopped by Ctrl-C, SIGTERM or SIGHUP.
    """
    signals = StopSignals(f"{PROGRAM}: stopped without an export")
    return run_command(PROGRAM, command_parser, _export, arguments, signals)


def _export(given: dict[str, Any]) -> int:
    _check(given)
    return folder.export_and_print(given)


def command_parser() -> Parser:
    """Return the parser of the command."""
    parser = Parser(
        prog=f"python -m {PROGRAM}",
        description="Write the policy of a run's checkpoint for other programs (see "
        "docs/export.md).",
        allow_abbrev=False,
    )
    parser.add_argument("run_dir", help="folder of the run")
    parser.add_argument(
        "--out", metavar="FOLDER", required=True, help="folder for the files, new or empty"
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        nargs="+",
        default=[],
        help=f"formats to write, of {', '.join(FORMATS)} [default: all that are possible]",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="INT",
        type=int,
        help="agent steps of the checkpoint [default: the newest]",
    )
    parser.add_argument(
        "--hub",
        action="store_true",
        help="metadata for the Hugging Face Hub and the run's config.json, too; nothing is "
        "uploaded, and the command that uploads the folder is printed",
    )
    add_import(parser)
    return parser


def _check(given: dict[str, Any]) -> None:
    """Raise UsageError for an unknown format."""
    for name in given["format"]:
        if name == _DEPRECATED:
            raise UsageError(
                f"--format {name}: TorchScript is deprecated in torch; take torch-export or onnx"
            )
        if name not in FORMATS:
            raise UsageError(
                f"--format {name!r} is unknown; allowed: {', '.join(FORMATS)}"
                + nearest(name, FORMATS)
            )
