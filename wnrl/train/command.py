"""`python -m wnrl.train --env Breakout`: the command line of a training run."""

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from wnrl._settings import UsageError, flag_name
from wnrl.config import make_config
from wnrl.envs.guarded_env import EnvironmentFault
from wnrl.nn.norms.catalogue import NORMS
from wnrl.nn.norms.record import Norm
from wnrl.train.exit_codes import ExitCode
from wnrl.train.faults.exit import report_fault
from wnrl.train.faults.finite import NotFiniteLearning
from wnrl.train.flags import describe as describe_setting
from wnrl.train.flags import import_named, one_line, parse_train_flags
from wnrl.train.loop import Tick
from wnrl.train.run import resume, train
from wnrl.train.storage.checkpoint import CheckpointError


def list_norms() -> str:
    """Describe every normalization: meaning, paper, cost and parameters."""
    return "\n".join(_describe_norm(norm) for norm in NORMS.values())


def _describe_norm(norm: Norm) -> str:
    lines = [
        f"{norm.name}: {norm.summary}",
        f"  paper  {norm.paper}",
        f"  cost   {norm.cost}",
        f"  start  with the same seed, {norm.start}",
    ]
    lines += [
        f"  --norm.{flag_name(field.name)}  {describe_setting(field)}"
        for field in dataclasses.fields(norm.settings)
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line; return the exit code.

    `ExitCode` names 0 to 4; 130 or 143: stopped by Ctrl-C or SIGTERM, with a checkpoint.
    """
    received: list[int] = []  # signals
    try:
        arguments = sys.argv[1:] if arguments is None else arguments
        import_named(arguments)
        commands, settings = parse_train_flags(arguments)
        if "list_norms" in commands:
            print(list_norms())
            return ExitCode.DONE
        ticks = _start(commands, settings, received)
        with _noting_signals(received):
            for _ in ticks:
                pass
    except UsageError as error:
        print(f"wnrl.train: {one_line(error)}", file=sys.stderr)
        return ExitCode.UNUSABLE
    except (EnvironmentFault, NotFiniteLearning) as fault:
        return report_fault("wnrl.train", fault)
    except CheckpointError as error:
        print(f"wnrl.train: {error}", file=sys.stderr)
        return ExitCode.FAILED
    except KeyboardInterrupt:
        print(
            "wnrl.train: stopped at once; --resume continues from the last checkpoint",
            file=sys.stderr,
        )
        return 128 + (received or [signal.SIGINT])[0]
    return 128 + received[0] if received else ExitCode.DONE


def _start(
    commands: dict[str, Any], settings: dict[str, Any], received: Sequence[int]
) -> Iterator[Tick]:
    """Return the run that the flags describe, not begun yet."""
    if "resume" in commands and "overwrite" in commands:
        raise UsageError("--resume continues a run, --overwrite replaces it; give only one")
    listen: dict[str, Any] = {
        "should_stop": lambda: bool(received),
        "say": lambda line: print(line, flush=True),
    }
    if "resume" in commands:
        return resume(Path(commands["resume"]), settings, **listen)
    return train(make_config(settings), overwrite="overwrite" in commands, **listen)


@contextlib.contextmanager
def _noting_signals(received: list[int]) -> Iterator[None]:
    """Append Ctrl-C and SIGTERM to `received` inside the scope; the second one interrupts."""

    def note(signum: int, frame: FrameType | None) -> None:
        if received:  # the second one does not wait for the end of the step
            raise KeyboardInterrupt
        received.append(signum)

    before = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
