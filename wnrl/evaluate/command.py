"""`python -m wnrl.evaluate RUN_DIR [--episodes 30] [--video FILE]`: evaluate a run.

It writes nothing but the video, so a signal ends it at once. Flags are checked before torch is
imported, which takes seconds.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wnrl._settings import UsageError
from wnrl._settings.later import Later
from wnrl.train.flags import Parser, add_import
from wnrl.train.process.short_command import run_command
from wnrl.train.process.stop_signals import StopSignals

if TYPE_CHECKING:
    from wnrl.evaluate import evaluation
else:
    evaluation = Later("wnrl.evaluate.evaluation")


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate from the command line; return the exit code.

    0: done; 1: the result could not be printed; 1 or 4: the environment failed; 2: unusable input;
    130, 143 or 129: stopped by Ctrl-C, SIGTERM or SIGHUP.
    """
    signals = StopSignals("wnrl.evaluate: stopped without a result")
    return run_command("wnrl.evaluate", command_parser, _evaluate, arguments, signals)


def _evaluate(given: dict[str, Any]) -> int:
    _check(given)
    return evaluation.evaluate_and_print(given)


def command_parser() -> Parser:
    """Return the parser of the command."""
    parser = Parser(
        prog="python -m wnrl.evaluate",
        description="Play whole episodes with the newest checkpoint of a run.",
        allow_abbrev=False,
    )
    parser.add_argument("run_dir", help="folder of the run")
    parser.add_argument(
        "--episodes", metavar="INT", type=int, default=30, help="number of episodes [default 30]"
    )
    parser.add_argument(
        "--epsilon",
        metavar="FLOAT",
        type=float,
        help="probability of a random action [default: 0.05 with protocol classic, 0.001 with "
        "sticky; 0 outside Atari, and for A2C and PPO, which sample their actions]",
    )
    parser.add_argument(
        "--seed", metavar="INT", type=int, default=0, help="random seed [default 0]"
    )
    parser.add_argument(
        "--device",
        metavar="STR",
        default="auto",
        help="device of the network: auto, cpu, cuda or cuda:K [default auto]",
    )
    parser.add_argument(
        "--video",
        metavar="FILE",
        help="file for the first episode that ends: play.gif, or play.mp4 with the extra 'video'",
    )
    add_import(parser)
    return parser


def _check(given: dict[str, Any]) -> None:
    """Raise UsageError if a number is out of range."""
    if given["episodes"] < 1:
        raise UsageError(f"--episodes {given['episodes']} is out of range; it must be at least 1")
    if given["seed"] < 0:
        raise UsageError(f"--seed {given['seed']} is out of range; it must be at least 0")
    if given["epsilon"] is not None and not 0 <= given["epsilon"] <= 1:
        raise UsageError(f"--epsilon {given['epsilon']} is out of range; it must be from 0 to 1")
