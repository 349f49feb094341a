"""`python -m wnrl.doctor`: can a run work here, on what, and what to mend if it cannot.

Packages are imported only while they are examined, so that a missing one is a line of the report
and not a traceback.
"""

import argparse
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from wnrl.doctor.cpus import cpu_quota, default_threads, usable_cpus
from wnrl.doctor.memory import available_bytes, format_bytes
from wnrl.doctor.software import NOT_INSTALLED, git_commit, versions

_GAME = "Breakout"
_ENVS, _STEPS = 4, 100


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    value: str
    mend: str = ""  # what to do about it; empty: nothing, a run can work


def examine() -> Iterator[Finding]:
    """Look at one thing after the other; a thing that fails does not keep the rest from sight."""
    yield from _packages()
    for name, look, mend in _LOOKS:
        try:
            yield Finding(name, look())
        except Exception as error:
            reason = str(error).partition("\n")[0]
            yield Finding(name, f"failed: {type(error).__name__}: {reason}", mend)


def format_report(findings: Sequence[Finding]) -> str:
    """Aligned lines; what has to be mended comes last."""
    width = max(len(finding.name) for finding in findings) + 2
    lines = [f"{finding.name:<{width}}{finding.value}" for finding in findings]
    mends = [f"{finding.name}: {finding.mend}" for finding in findings if finding.mend]
    if not mends:
        return "\n".join([*lines, "", "A run can work here."])
    return "\n".join([*lines, "", "A run cannot work here. To mend:", *mends])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 0 if a run can work here, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m wnrl.doctor", description=__doc__)
    parser.parse_args(arguments)
    findings = list(examine())
    print(format_report(findings))
    return 1 if any(finding.mend for finding in findings) else 0


def _packages() -> Iterator[Finding]:
    for name, version in versions().items():
        missing = version == NOT_INSTALLED
        yield Finding(name, version, f"pip install {name}" if missing else "")
    yield Finding("commit", git_commit() or "none (not run from a checkout)")
    has_triton = importlib.util.find_spec("triton") is not None
    yield Finding("triton", "installed" if has_triton else "not installed (CUDA kernels need it)")


def _device() -> str:
    import torch

    from wnrl.doctor.device import resolve_device

    device = resolve_device("auto")
    if device.type == "cpu":
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
        return f"cpu with --device auto (torch is built for {built} and sees no CUDA device)"
    major, minor = torch.cuda.get_device_capability(device)
    memory = torch.cuda.get_device_properties(device).total_memory
    return (
        f"{device} with --device auto ({torch.cuda.get_device_name(device)}, capability "
        f"{major}.{minor}, {format_bytes(memory)}; {torch.cuda.device_count()} in all)"
    )


def _cpus() -> str:
    quota = cpu_quota()
    limit = "no quota" if quota is None else f"a quota of {quota:g}"
    return f"{os.cpu_count()} in the machine, {usable_cpus()} usable, {limit}"


def _threads() -> str:
    return f"{default_threads()} for torch on Atari, 1 on other environments (--threads)"


def _memory() -> str:
    return f"{format_bytes(available_bytes())} available"


def _disk() -> str:
    return f"{format_bytes(shutil.disk_usage('.').free)} free in {os.getcwd()}"


def _emulator() -> str:
    import numpy as np

    from wnrl.envs.atari import Atari
    from wnrl.envs.games import playable_roms

    env = Atari(_GAME, _ENVS, seed=0)
    try:
        env.reset()
        actions = np.zeros(_ENVS, np.int64)
        begun_s = time.perf_counter()
        for _ in range(_STEPS):
            env.send(actions)
            env.recv()
        steps_per_s = _ENVS * _STEPS / (time.perf_counter() - begun_s)
    finally:
        env.close()
    return f"{len(playable_roms())} games; {_GAME} runs at {steps_per_s:,.0f} agent steps/s"


def _tensorboard() -> str:
    from torch.utils.tensorboard import SummaryWriter

    return f"{SummaryWriter.__name__} can be imported"


_LOOKS: tuple[tuple[str, Callable[[], str], str], ...] = (
    ("device", _device, "reinstall torch for this machine: https://pytorch.org/get-started"),
    ("cpus", _cpus, "report this with the line above"),
    ("threads", _threads, "reinstall torch for this machine: https://pytorch.org/get-started"),
    ("memory", _memory, "report this with the line above"),
    ("disk", _disk, "start in a folder that exists"),
    ("emulator", _emulator, "pip install --force-reinstall ale-py"),
    ("event files", _tensorboard, "pip install --force-reinstall tensorboard"),
)
