"""Train PPO on CartPole-v1 and DQN on Breakout, and measure the runs' checkpoints."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wnrl.config import make_config
from wnrl.curvature.next_update import next_update
from wnrl.instruments.curvature import Effort, measure
from wnrl.train import train
from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.run_status import read_status

# Settings of the runs that are not defaults; steps are agent steps.
RUNS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {"agent": "ppo", "steps": 4_096, "checkpoint_every_steps": 1_024},
    "Breakout": {
        "agent": "dqn",
        "preset": "fast",
        "steps": 8_000,
        "checkpoint_every_steps": 4_000,
    },
}
ROWS = {"CartPole-v1": 512, "Breakout": 128}
EFFORTS = {"CartPole-v1": Effort(30, small_rows=32), "Breakout": Effort(15, small_rows=16)}


def readings(
    env: str, norm: str, seed: int, runs: Path
) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Train, and yield agent steps, the run's mean return and readings at its checkpoints."""
    settings = RUNS[env]
    folder = runs / env / f"{settings['agent']}-{norm}" / f"seed{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    config = make_config(
        env=env,
        norm=norm,
        seed=seed,
        run_dir=str(folder),
        threads=1,
        keep_checkpoints=10,
        eval_every_steps=0,
        instruments_every_updates=0,
        progress_every_s=float("inf"),
        calibrate=False,
        **settings,
    )
    for _ in train(config):
        pass
    status = read_status(folder)
    mean_return = (
        float("nan") if status is None or status.mean_return is None else status.mean_return
    )
    steps = Checkpoints(folder).steps()
    for step in sorted({steps[0], steps[-1]}):
        update = next_update(folder, ROWS[env], checkpoint=step, seed=0)
        read = measure(update.network, update.problem, update.vectors, EFFORTS[env])
        yield update.agent_steps, mean_return, read
