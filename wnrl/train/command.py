"""`python -m wnrl.train --env Breakout`: the command line of a training run."""

import dataclasses
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from wnrl._settings import UsageError, flag_name
from wnrl.config import make_config
from wnrl.nn.norms.catalogue import NORMS
from wnrl.nn.norms.record import Norm
from wnrl.train.flags import describe as describe_setting
from wnrl.train.flags import one_line, parse_train_flags
from wnrl.train.run import resume, train
from wnrl.train.storage.checkpoint import CheckpointError


def list_norms() -> str:
    """The catalogue of normalizations: what each is, costs and takes."""
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
    """Train from the command line; returns the exit code.

    0: done; 2: input that cannot be used; 130, 143: stopped by Ctrl-C or SIGTERM, with a
    checkpoint; 1: the last checkpoint could not be written.
    """
    received: list[int] = []

    def remember(signum: int, frame: FrameType | None) -> None:
        if received:  # asked twice: do not wait for the end of the step
            raise KeyboardInterrupt
        received.append(signum)

    try:
        commands, settings = parse_train_flags(sys.argv[1:] if arguments is None else arguments)
        if "list_norms" in commands:
            print(list_norms())
            return 0
        if "resume" in commands and "overwrite" in commands:
            raise UsageError("--resume goes on with a run, --overwrite replaces it; give only one")
        listen: dict[str, Any] = {
            "should_stop": lambda: bool(received),
            "say": lambda line: print(line, flush=True),
        }
        if "resume" in commands:
            ticks = resume(Path(commands["resume"]), settings, **listen)
        else:
            ticks = train(make_config(settings), overwrite="overwrite" in commands, **listen)
        before = {s: signal.signal(s, remember) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            for _ in ticks:
                pass
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
    except UsageError as error:
        print(f"wnrl.train: {one_line(error)}", file=sys.stderr)
        return 2
    except CheckpointError as error:
        print(f"wnrl.train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "wnrl.train: ended at once; --resume goes on from the last checkpoint", file=sys.stderr
        )
        return 128 + (received or [signal.SIGINT])[0]
    return 128 + received[0] if received else 0
