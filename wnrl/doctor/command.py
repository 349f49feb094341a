"""`python -m wnrl.doctor`: check that training works on this machine, and say what to fix if not.

Packages are imported only while they are checked, so that a missing one becomes a line of the
report and not a traceback.
"""

import argparse
import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, NoReturn

from wnrl._settings import UsageError, cut
from wnrl.doctor.cpus import cpu_model, cpu_quota, default_threads
from wnrl.doctor.memory import available_bytes, format_bytes
from wnrl.doctor.software import NOT_INSTALLED, OPTIONAL, git_commit, versions
from wnrl.envs.usable_cpus import usable_cpus

_GAME = "Breakout"
_ENVS, _STEPS = 4, 100


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    value: str
    fix: str = ""  # what to do about it; empty if nothing is wrong


def examine() -> Iterator[Finding]:
    """Run every check; one that fails does not stop the others."""
    yield from _packages()
    for name, check, fix in _CHECKS:
        try:
            yield Finding(name, check())
        except Exception as error:
            reason = str(error).partition("\n")[0]
            yield Finding(name, f"failed: {type(error).__name__}: {reason}", fix)


def format_report(findings: Sequence[Finding]) -> str:
    """Format the findings as aligned lines, followed by everything that needs fixing."""
    width = max(len(finding.name) for finding in findings) + 2
    lines = [f"{finding.name:<{width}}{finding.value}" for finding in findings]
    fixes = [f"{finding.name}: {finding.fix}" for finding in findings if finding.fix]
    if not fixes:
        return "\n".join([*lines, "", "Training works on this machine."])
    return "\n".join([*lines, "", "Training does not work on this machine yet. To fix:", *fixes])


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError where argparse prints its usage and exits."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; argparse calls this."""
        raise UsageError(f"{cut(message, 200)}; wnrl.doctor takes no arguments")


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command, which takes no arguments."""
    return _Parser(
        prog="python -m wnrl.doctor",
        description="Check that training works on this machine: packages, device, CPUs, memory, "
        "disk and emulator. Exits with 1 and says what to fix if it does not.",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; return 0 if training works on this machine, 1 if not, 2 for bad flags."""
    try:
        command_parser().parse_args(arguments)
    except UsageError as error:
        print(f"wnrl.doctor: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    findings = list(examine())
    print(format_report(findings))
    return 1 if any(finding.fix for finding in findings) else 0


def _packages() -> Iterator[Finding]:
    for name, version in versions().items():
        missing = version == NOT_INSTALLED
        if missing and name in OPTIONAL:
            yield Finding(name, f"{version} (optional: pip install 'wnrl[{OPTIONAL[name]}]')")
        else:
            yield Finding(name, version, f"pip install {name}" if missing else "")
    yield Finding("commit", git_commit() or "unknown (not running from a Git checkout)")
    has_triton = importlib.util.find_spec("triton") is not None
    yield Finding("triton", "installed" if has_triton else "not installed (only CUDA needs it)")


def _device() -> str:
    import torch

    from wnrl.doctor.device import resolve_device

    device = resolve_device("auto")
    if device.type == "cpu":
        target = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
        return f"cpu, chosen by --device auto (torch is built for {target}; no CUDA device found)"
    major, minor = torch.cuda.get_device_capability(device)
    memory = torch.cuda.get_device_properties(device).total_memory
    return (
        f"{device}, chosen by --device auto ({torch.cuda.get_device_name(device)}, compute "
        f"capability {major}.{minor}, {format_bytes(memory)}; CUDA devices: "
        f"{torch.cuda.device_count()})"
    )


def _cpus() -> str:
    quota = cpu_quota()
    limit = "no CPU quota" if quota is None else f"a CPU quota of {quota:g}"
    return f"{cpu_model()}: {os.cpu_count()} in this machine, {usable_cpus()} usable, {limit}"


def _threads() -> str:
    return f"{default_threads()} for a run on Atari, 1 on other environments (--threads)"


def _memory() -> str:
    return f"{format_bytes(available_bytes())} available"


def _disk() -> str:
    return f"{format_bytes(shutil.disk_usage('.').free)} free for the current folder"


def _emulator() -> str:
    import numpy as np

    from wnrl.envs.atari import Atari
    from wnrl.envs.games import playable_roms

    env = Atari(_GAME, _ENVS, seed=0)
    try:
        env.reset()
        actions = np.zeros(_ENVS, np.int64)
        start_s = time.perf_counter()
        for _ in range(_STEPS):
            env.send(actions)
            env.recv()
        steps_per_s = _ENVS * _STEPS / (time.perf_counter() - start_s)
    finally:
        env.close()
    return f"{len(playable_roms())} games; {_GAME} runs at {steps_per_s:,.0f} agent steps/s"


def _tensorboard() -> str:
    from torch.utils.tensorboard import SummaryWriter

    return f"{SummaryWriter.__name__} can be imported"


_CHECKS: tuple[tuple[str, Callable[[], str], str], ...] = (
    ("device", _device, "reinstall torch for this machine: https://pytorch.org/get-started"),
    ("cpus", _cpus, "please report this error"),
    ("threads", _threads, "reinstall torch for this machine: https://pytorch.org/get-started"),
    ("memory", _memory, "please report this error"),
    ("disk", _disk, "start from a folder that exists"),
    ("emulator", _emulator, "pip install --force-reinstall ale-py"),
    ("event files", _tensorboard, "pip install --force-reinstall tensorboard"),
)
