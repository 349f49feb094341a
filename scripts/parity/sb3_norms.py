"""Train Stable-Baselines3's agents with each normalization in their policies, and compare them.

    python scripts/parity/sb3_norms.py --csv FILE
        [--task ppo-cartpole ...] [--norm batch layer weight] [--seeds 10]

Every normalization is compared with `none`, which is the stock policy. Hyperparameters are the same
for every normalization: those of with_sb3.py, and for SAC a learning rate of 1e-3. Each run is one
row of the CSV file, and a repeated command does what is missing. At the end it prints a table with
each difference of the mean final returns, its interval and a verdict.
"""

import argparse
import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from contest import Episodes, Task, table, train_missing, verdicts
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from with_sb3 import BREAKOUT, CASES, Policy, environments, learn

from wnrl.envs.make import is_minatar
from wnrl.sb3 import (
    WNActorCriticCnnPolicy,
    WNActorCriticMlpPolicy,
    WNCnnPolicy,
    WNMlpPolicy,
    WNSACPolicy,
)

NONE = "none"
POLICIES = {  # for vectors and for images
    "dqn": (WNMlpPolicy, WNCnnPolicy),
    "ppo": (WNActorCriticMlpPolicy, WNActorCriticCnnPolicy),
    "sac": (WNSACPolicy, WNSACPolicy),
}


@dataclass(frozen=True)
class Problem:
    """An agent and what it learns."""

    agent: str
    env: str
    steps: int

    def model(self, norm: str, seed: int) -> BaseAlgorithm:
        """Return SB3's agent with this normalization in its policy."""
        kind = POLICIES[self.agent][is_minatar(self.env)]
        policy = Policy(kind, {"norm": norm})
        if self.agent in CASES:
            return CASES[self.agent].sb3(self.env, self.steps, seed, policy)
        return SAC(
            policy.kind,
            environments(self.env, 1, seed),
            learning_rate=1e-3,
            learning_starts=1_000,
            policy_kwargs={"net_arch": [64, 64], **policy.own},
            seed=seed,
        )

    def train(self, norm: str, seed: int) -> Episodes:
        """Train once; return agent steps (E,) and returns (E,) of the episodes."""
        return learn(self.model(norm, seed), self.steps)


PROBLEMS = {
    "ppo-cartpole": Problem("ppo", "CartPole-v1", 30_000),
    "dqn-cartpole": Problem("dqn", "CartPole-v1", 15_000),
    "sac-pendulum": Problem("sac", "Pendulum-v1", 6_000),
    "ppo-minatar": Problem("ppo", BREAKOUT, 100_000),
    "dqn-minatar": Problem("dqn", BREAKOUT, 50_000),
}


def main() -> None:
    """Train what the file lacks, every task of a seed before the next seed; print the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, required=True, help="file of the runs' scores")
    tasks = list(PROBLEMS)
    parser.add_argument("--task", nargs="+", choices=tasks, default=tasks, help="tasks")
    norms = ["batch", "layer", "weight"]
    parser.add_argument("--norm", nargs="+", default=norms, help="compared with none")
    parser.add_argument("--seeds", type=int, default=10, help="seeds, numbered from 1")
    given = parser.parse_args()
    runs = itertools.product(
        range(1, given.seeds + 1),
        [PROBLEMS[name] for name in given.task],
        dict.fromkeys([NONE, *given.norm]),
    )
    asked = (
        Task(each.agent, each.env, norm, seed, each.steps, partial(each.train, norm, seed))
        for seed, each, norm in runs
    )
    for line in table(verdicts(train_missing(asked, given.csv), peer=NONE)):
        print(line)


if __name__ == "__main__":
    main()
