"""How a command reports a fault of a run: one line on stderr, and the exit code."""

import sys

from wnrl.envs.guard.guarded_env import BrokenInterface, EnvironmentFault, NotFiniteStep
from wnrl.train.exit_codes import ExitCode
from wnrl.train.faults.finite import NotFiniteLearning
from wnrl.train.foreign_text import joined

RunFault = EnvironmentFault | NotFiniteLearning


def report_fault(program: str, fault: RunFault) -> ExitCode:
    """Print a fault and what was noted about it; return the exit code."""
    said = "; ".join([str(fault), *getattr(fault, "__notes__", [])])
    print(f"{program}: {joined(said)}", file=sys.stderr)
    match fault:
        case NotFiniteStep() | NotFiniteLearning():
            return ExitCode.NOT_FINITE
        case BrokenInterface():
            return ExitCode.UNUSABLE
        case _:
            return ExitCode.FAILED
