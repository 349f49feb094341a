"""A training run from the command line: what it prints, and the exit code that its end has."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from wnrl.config import Config
from wnrl.envs.guard.guarded_env import EnvironmentFault
from wnrl.train.exit_codes import ExitCode
from wnrl.train.faults.exit import report_fault
from wnrl.train.faults.finite import NotFiniteLearning
from wnrl.train.faults.out_of_memory import is_out_of_memory
from wnrl.train.flags import one_line
from wnrl.train.foreign_text import visible
from wnrl.train.loop import Tick
from wnrl.train.process.light_start import leave_out_compiler
from wnrl.train.process.run_process import PROGRAM, RunProcess
from wnrl.train.process.stop_signals import StopSignals
from wnrl.train.run import resume, train
from wnrl.train.storage.atomic_files import StorageError
from wnrl.train.storage.run_folder import FolderInUse


def _print(line: str) -> None:
    print(line, flush=True)


def start(
    config: Config, signals: StopSignals, overwrite: bool, say: Callable[[str], None] = _print
) -> int:
    """Train a new run; return the exit code.

    Args:
        config: its configuration.
        signals: installed; the first one ends the run with a checkpoint.
        overwrite: replace the run in the folder.
        say: called with each line about the run; faults and progress are printed in any case.

    Raises:
        UsageError: the configuration cannot be run here, or the folder cannot be used.
    """
    begin = partial(train, config, overwrite=overwrite, say=say)
    return _to_the_end(begin, signals, overwrite)


def go_on(run_dir: str, settings: Mapping[str, Any], signals: StopSignals) -> int:
    """Continue the run in a folder with new settings; return the exit code.

    Raises:
        UsageError: no run, no usable checkpoint, or a setting that cannot change.
    """
    begin = partial(resume, Path(run_dir), settings, say=_print)
    return _to_the_end(begin, signals, overwrites=False)


def _to_the_end(
    begin: Callable[..., Iterator[Tick]], signals: StopSignals, overwrites: bool
) -> int:
    leave_out_compiler()
    with contextlib.closing(RunProcess(signals)) as run:
        run.overwrites = overwrites
        try:
            ticks = begin(
                should_stop=lambda: signals.requested,
                claimed=run.claimed,
                began=run.began,
            )
            for tick in ticks:
                run.agent_steps = tick.agent_steps
        except (EnvironmentFault, NotFiniteLearning) as fault:
            return report_fault(PROGRAM, fault)
        except FolderInUse as error:
            print(f"{PROGRAM}: {one_line(error)}", file=sys.stderr)
            return ExitCode.IN_USE
        except StorageError as error:
            print(f"{PROGRAM}: {one_line(error)}", file=sys.stderr)
            return ExitCode.FAILED
        except (MemoryError, OSError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            print(f"{PROGRAM}: {visible(run.out_of_memory(error))}", file=sys.stderr)
            return ExitCode.FAILED
    return 128 + signals.received[0] if signals.received else ExitCode.DONE
