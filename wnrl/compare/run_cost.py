"""Measure what a run costs, in a subprocess: `python -m wnrl.compare.run_cost < CONFIG`.

In the parent process the measurements would add up, because a process's peak memory never falls.
"""

import contextlib
import json
import subprocess
import sys
from typing import NamedTuple

import torch

from wnrl._settings import SettingError, UsageError
from wnrl.compare.grid import PlannedRun
from wnrl.compare.jobs.process import tethered
from wnrl.config import Config, config_from_json, replace
from wnrl.doctor.cpus import default_threads
from wnrl.doctor.device import resolve_device
from wnrl.doctor.memory import available_bytes, keep_freed_memory, peak_resident_bytes
from wnrl.train.build import build_agent, build_env, build_network, check_norm, resolve
from wnrl.train.flags import import_named, one_line
from wnrl.train.memory_budget import fit_memory
from wnrl.train.speed import Speed, lent, measure_speed


class RunCost(NamedTuple):
    """Time and memory of a run."""

    speed: Speed
    peak_bytes: int  # 0 if the system does not report it


def measure_cost(planned: PlannedRun) -> RunCost:
    """Measure a run's cost in a subprocess; takes seconds.

    Nothing else of the comparison may run meanwhile.

    Raises:
        SettingError: the run does not work on this machine.
    """
    modules = [f"--import={module}" for module in planned.modules]
    done = subprocess.run(
        tethered([sys.executable, "-m", "wnrl.compare.run_cost", *modules]),
        input=json.dumps(planned.config.to_json()),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise SettingError("norm", f"{planned.config.run.norm} cannot be run: {lines[-1]}")
    measured = json.loads(done.stdout.splitlines()[-1])
    return RunCost(Speed(measured["warmup_s"], measured["learning_s"]), measured["peak_bytes"])


def measure_in_this_process(config: Config) -> RunCost:
    """Build everything that the run would hold, and measure; the process must be a fresh one."""
    config = replace(config, threads=config.run.threads or default_threads())
    torch.set_num_threads(config.run.threads)
    keep_freed_memory()
    device = resolve_device(config.run.device)
    parts = resolve(replace(config, init="default"))
    with contextlib.closing(build_env(parts)) as env:
        check_norm(parts, env)
        fit_memory(config, env, available_bytes(), fixed=True)  # a grid's replays never shrink
        with lent(config, env) as trial:
            speed = measure_speed(config, device, trial)
        network, _ = build_network(parts, env)
        build_agent(parts, env, network, device)
        return RunCost(speed, peak_resident_bytes())


def main() -> int:
    """Read a configuration from standard input and write its cost to standard output, as JSON."""
    try:
        import_named(sys.argv[1:])
        cost = measure_in_this_process(config_from_json(json.load(sys.stdin)))
    except UsageError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    print(json.dumps({**cost.speed._asdict(), "peak_bytes": cost.peak_bytes}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
