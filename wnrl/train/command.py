"""`python -m wnrl.train --env Breakout`: the command line of a training run."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wnrl._settings import UsageError, flag_name
from wnrl.config import make_config
from wnrl.envs.guarded_env import EnvironmentFault
from wnrl.nn.norms.catalogue import NORMS
from wnrl.nn.norms.record import Norm
from wnrl.train.exit_codes import ExitCode
from wnrl.train.faults.exit import report_fault
from wnrl.train.faults.finite import NotFiniteLearning
from wnrl.train.faults.out_of_memory import is_out_of_memory
from wnrl.train.flags import describe as describe_setting
from wnrl.train.flags import import_named, one_line, parse_train_flags
from wnrl.train.foreign_text import visible
from wnrl.train.loop import Tick
from wnrl.train.process.output import all_printed
from wnrl.train.process.run_process import PROGRAM, RunProcess
from wnrl.train.process.stop_signals import StopSignals
from wnrl.train.run import resume, train
from wnrl.train.storage.atomic_files import StorageError


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

    `ExitCode` names 0 to 4; 130, 143 or 129: stopped by Ctrl-C, SIGTERM or SIGHUP, with a
    checkpoint if the training had begun.
    """
    signals = StopSignals(f"{PROGRAM}: stopped before the training began; nothing is lost")
    with signals.installed(), contextlib.closing(RunProcess(signals)) as run:
        try:
            arguments = sys.argv[1:] if arguments is None else arguments
            import_named(arguments)
            commands, settings = parse_train_flags(arguments)
            if "list_norms" in commands:
                print(list_norms())
                return ExitCode.DONE if all_printed() else ExitCode.FAILED
            run.overwrites = "overwrite" in commands
            for tick in _start(commands, settings, signals, run):
                run.agent_steps = tick.agent_steps
        except UsageError as error:
            print(f"{PROGRAM}: {one_line(error)}", file=sys.stderr)
            return ExitCode.UNUSABLE
        except (EnvironmentFault, NotFiniteLearning) as fault:
            return report_fault(PROGRAM, fault)
        except StorageError as error:
            print(f"{PROGRAM}: {one_line(error)}", file=sys.stderr)
            return ExitCode.FAILED
        except (MemoryError, OSError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            print(f"{PROGRAM}: {visible(run.out_of_memory(error))}", file=sys.stderr)
            return ExitCode.FAILED
    return 128 + signals.received[0] if signals.received else ExitCode.DONE


def _start(
    commands: dict[str, Any], settings: dict[str, Any], signals: StopSignals, run: RunProcess
) -> Iterator[Tick]:
    """Return the run that the flags describe, not begun yet."""
    if "resume" in commands and "overwrite" in commands:
        raise UsageError("--resume continues a run, --overwrite replaces it; give only one")
    listen: dict[str, Any] = {
        "should_stop": lambda: signals.requested,
        "say": lambda line: print(line, flush=True),
        "claimed": run.claimed,
        "began": run.began,
    }
    if "resume" in commands:
        return resume(Path(commands["resume"]), settings, **listen)
    return train(make_config(settings), overwrite="overwrite" in commands, **listen)
