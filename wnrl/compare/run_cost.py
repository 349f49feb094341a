"""What a run will cost, measured in a process of its own: `python -m wnrl.compare.run_cost <
CONFIG`.

In the parent it would add up: memory once taken counts in a process's peak for ever.
"""

import contextlib
import json
import subprocess
import sys
from typing import NamedTuple

import torch

from wnrl._settings import UsageError
from wnrl.compare.jobs.tether import tethered
from wnrl.config import Config, config_from_json, replace
from wnrl.doctor.cpus import default_threads
from wnrl.doctor.device import resolve_device
from wnrl.doctor.memory import available_bytes, keep_freed_memory, peak_resident_bytes
from wnrl.train.build import build_env, build_network, check_norm, fit_memory
from wnrl.train.build_agent import build_agent
from wnrl.train.flags import one_line
from wnrl.train.speed import Speed, measure_speed


class Cost(NamedTuple):
    """Time and memory of a run."""

    speed: Speed
    peak_bytes: int


def calibrate(config: Config) -> Cost:
    """Measure a run's cost with nothing else of ours running; takes seconds.

    Raises:
        UsageError: it cannot be run here.
    """
    done = subprocess.run(
        tethered([sys.executable, "-m", "wnrl.compare.run_cost"]),
        input=json.dumps(config.to_json()),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UsageError(f"--norm {config.run.norm} cannot be run: {said[-1]}")
    measured = json.loads(done.stdout.splitlines()[-1])
    return Cost(Speed(measured["warmup_s"], measured["learning_s"]), measured["peak_bytes"])


def measure(config: Config) -> Cost:
    """Measure in this process, which has to be a fresh one: builds all that the run would hold."""
    config = replace(config, threads=config.run.threads or default_threads())
    torch.set_num_threads(config.run.threads)
    keep_freed_memory()
    device = resolve_device(config.run.device)
    with contextlib.closing(build_env(config)) as env:
        check_norm(config, env)
        fit_memory(config, env, available_bytes(), fixed=True)  # no replay of a grid is shrunk
        speed = measure_speed(config, device)
        network, _ = build_network(replace(config, init="default"), env)
        build_agent(config, env, network, device)
        return Cost(speed, peak_resident_bytes())


def main() -> int:
    """Read a configuration, write what it costs."""
    try:
        cost = measure(config_from_json(json.load(sys.stdin)))
    except UsageError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    print(json.dumps({**cost.speed._asdict(), "peak_bytes": cost.peak_bytes}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
