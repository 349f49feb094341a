"""Train the runs whose checkpoints docs/conditioning.md measures: PPO on CartPole-v1, DQN on
Breakout.

    python scripts/conditioning/checkpoints.py --runs FOLDER [--env CartPole-v1 Breakout]
        [--norm none weight batch layer] [--seeds 1 2 3 4 5]

Runs that are done are left out, so a second call continues where the first was stopped. One thread.
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wnrl.config import make_config
from wnrl.train import train
from wnrl.train.storage.run_status import RunState, read_status

NORMS = ("none", "weight", "batch", "layer")
SEEDS = (1, 2, 3, 4, 5)
ENVS: dict[str, dict[str, Any]] = {  # settings of the runs; steps are agent steps
    "CartPole-v1": {"agent": "ppo", "steps": 12_000, "checkpoint_every_steps": 2_000},
    "Breakout": {
        "agent": "dqn",
        "preset": "fast",
        "steps": 2_000,
        "warmup_steps": 500,
        "checkpoint_every_steps": 1_000,
    },
}


def folder_of(runs: Path, env: str, norm: str, seed: int) -> Path:
    """Return a run's folder."""
    return runs / env / f"{ENVS[env]['agent']}-{norm}" / f"seed{seed}"


def missing(arguments: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Yield the runs that are not done, every normalization of a seed before the next seed."""
    for seed in arguments.seeds:
        for env in arguments.env:
            for norm in arguments.norm:
                status = read_status(folder_of(arguments.runs, env, norm, seed))
                if status is None or status.state != RunState.DONE:
                    yield env, norm, seed


def main() -> None:
    """Train what is missing, one run after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--env", nargs="+", choices=ENVS, default=list(ENVS))
    parser.add_argument("--norm", nargs="+", default=list(NORMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    arguments = parser.parse_args()
    for env, norm, seed in missing(arguments):
        folder = folder_of(arguments.runs, env, norm, seed)
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
            **ENVS[env],
        )
        for _ in train(config):
            pass
        print(f"{env} {norm} seed {seed}: done", flush=True)


if __name__ == "__main__":
    main()
