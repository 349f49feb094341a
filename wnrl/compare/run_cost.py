"""Measure what runs cost, alone or side by side, each in a subprocess.

A subprocess is `python -m wnrl.compare.run_cost`. It reads a configuration from standard input,
says when it is ready, measures when it is asked to, and keeps its GPU memory until it is killed.

In the parent process the measurements would add up, because a process's peak memory never falls.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, NamedTuple

import torch

from wnrl._settings import SettingError, UsageError
from wnrl.compare.grid import PlannedRun
from wnrl.compare.jobs.process import tethered
from wnrl.config import Config, config_from_json, replace
from wnrl.doctor.cpus import default_threads
from wnrl.doctor.device import resolve_device
from wnrl.doctor.memory import available_bytes, keep_freed_memory, peak_resident_bytes
from wnrl.report.number_format import counted
from wnrl.train.build import build_agent, build_env, build_network, check_norm, resolve
from wnrl.train.flags import import_named, one_line
from wnrl.train.memory_budget import fit_memory
from wnrl.train.process.light_start import leave_out_compiler
from wnrl.train.speed import Speed, lent, measure_speed

_ANSWER = "wnrl.compare.run_cost: "  # begins the lines that the parent waits for
_BUDGET_S = 4.0  # half for the warm-up, half for learning


class RunCost(NamedTuple):
    """Time and memory of a run."""

    speed: Speed
    peak_bytes: int  # 0 if the system does not report it


def mean_cost(costs: Sequence[RunCost]) -> RunCost:
    """Return the mean time and the largest memory of equal runs."""
    times = zip(*(cost.speed for cost in costs), strict=True)
    return RunCost(Speed(*map(statistics.fmean, times)), max(cost.peak_bytes for cost in costs))


class Trial(NamedTuple):
    """A run to measure, and the environment variables of its process."""

    planned: PlannedRun
    environment: Mapping[str, str] = {}


def measure_together(trials: Sequence[Trial]) -> list[RunCost]:
    """Measure runs side by side, each in a subprocess; takes seconds.

    Nothing else of the comparison may run meanwhile. All begin to measure at the same time, and
    none gives up its GPU memory before the last has finished.

    Raises:
        UsageError: a run does not work on this machine, or not beside the others.
    """
    with contextlib.ExitStack() as stack:
        try:
            running = [stack.enter_context(_measuring(trial)) for trial in trials]
        except OSError as error:  # a limit on processes or open files
            raise UsageError(
                f"{counted(len(trials), 'run')} cannot be started at a time: {error.strerror}; "
                "give a smaller --jobs, or raise the limit"
            ) from None
        for each in running:
            each.answer()
        for each in running:
            each.send("begin")
        return [_cost(each.answer()) for each in running]


class _Measuring(NamedTuple):
    process: "subprocess.Popen[str]"
    errors: IO[bytes]  # standard error of the process
    norm: str

    def send(self, line: str) -> None:
        """Write a line; if the process has ended, `answer` says why."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            os.write(self.process.stdin.fileno(), f"{line}\n".encode())

    def answer(self) -> str:
        """Return the next answer; SettingError if there is none."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(_ANSWER):
                return line.removeprefix(_ANSWER)
        exit_code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {exit_code}"
        raise SettingError("norm", f"{self.norm} cannot be run: {reason}")


@contextlib.contextmanager
def _measuring(trial: Trial) -> Iterator[_Measuring]:
    """Start the process of a trial; kill it at the end."""
    planned = trial.planned
    modules = [f"--import={module}" for module in planned.modules]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            tethered([sys.executable, "-m", "wnrl.compare.run_cost", *modules]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            env={**os.environ, **trial.environment},
        ) as process,
    ):
        measuring = _Measuring(process, errors, planned.config.run.norm)
        try:
            measuring.send(json.dumps(planned.config.to_json()))
            yield measuring
        finally:
            process.kill()


def _cost(answer: str) -> RunCost:
    measured = json.loads(answer)
    return RunCost(Speed(measured["warmup_s"], measured["learning_s"]), measured["peak_bytes"])


def measure_in_this_process(config: Config, ready: Callable[[], object]) -> RunCost:
    """Build everything that the run would hold, and measure; the process must be a fresh one.

    Args:
        config: configuration of the run.
        ready: called before the time is measured; returns when the other processes are ready too.
    """
    config = replace(config, threads=config.run.threads or default_threads())
    torch.set_num_threads(config.run.threads)
    keep_freed_memory()
    leave_out_compiler()
    device = resolve_device(config.run.device)
    parts = resolve(replace(config, init="default"))
    with contextlib.closing(build_env(parts)) as env:
        check_norm(parts, env)
        fit_memory(config, env, available_bytes(), fixed=True)  # a grid's replays never shrink
        with lent(config, env) as trial:
            ready()
            speed = measure_speed(config, device, trial, _BUDGET_S)
        network, _ = build_network(parts, env)
        build_agent(parts, env, network, device)
        return RunCost(speed, peak_resident_bytes())


def _answer(text: str) -> None:
    print(f"{_ANSWER}{text}", flush=True)


def _wait_for_others() -> None:
    _answer("ready")
    sys.stdin.readline()


def main() -> int:
    """Read a configuration from standard input and write its cost to standard output, as JSON."""
    try:
        import_named(sys.argv[1:])
        config = config_from_json(json.loads(sys.stdin.readline()))
        cost = measure_in_this_process(config, _wait_for_others)
    except UsageError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    _answer(json.dumps({**cost.speed._asdict(), "peak_bytes": cost.peak_bytes}))
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
