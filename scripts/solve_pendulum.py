"""Test whether Stable-Baselines3's continuous algorithms learn Pendulum-v1 with our policies.

Every algorithm, policy and seed is one row of the table, with the mean of its first and last
training returns and a digest of its weights; an episode is 200 steps, and a random policy gets
about -1,200. `stock` is the stock policy, with which `none` must agree in every bit. All networks
have two hidden layers of `--units`; other settings are the defaults, with a learning rate of 1e-3
(the zoo's for Pendulum), 1,000 random steps first and, for TD3, the zoo's action noise of 0.1.

    python scripts/solve_pendulum.py [--algorithm SAC TD3 TQC CrossQ] [--norm weight none stock]
        [--seeds 1 2 3 4 5] [--steps 6_000] [--csv FILE]
"""

import argparse
import hashlib
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import sb3_contrib
import stable_baselines3
import torch
from result_rows import show, write_csv
from stable_baselines3.common.noise import NormalActionNoise

from wnrl.doctor.software import git_commit
from wnrl.sb3 import WNSACPolicy, WNTD3Policy, contrib

ENV = "Pendulum-v1"
EPISODES = 5  # in each mean
SOLVED = -300.0
ALGORITHMS: dict[str, tuple[Any, type, dict[str, Any]]] = {
    "SAC": (stable_baselines3.SAC, WNSACPolicy, {}),
    "TD3": (
        stable_baselines3.TD3,
        WNTD3Policy,
        {"action_noise": NormalActionNoise(np.zeros(1), 0.1 * np.ones(1))},
    ),
    "TQC": (sb3_contrib.TQC, contrib.WNTQCPolicy, {}),
    "CrossQ": (sb3_contrib.CrossQ, contrib.WNCrossQPolicy, {}),
}


def solve(algorithm: str, norm: str, seed: int, steps: int, units: int) -> dict[str, object]:
    """Train once and return a row of the table."""
    kind, policy, options = ALGORITHMS[algorithm]
    own: dict[str, Any] = {} if norm == "stock" else {"norm": norm}
    began_s = time.process_time()
    model = kind(
        "MlpPolicy" if norm == "stock" else policy,
        ENV,
        learning_rate=1e-3,
        learning_starts=1_000,
        seed=seed,
        device="cpu",
        policy_kwargs={"net_arch": [units, units], **own},
        **options,
    )
    model.learn(steps, log_interval=None)
    returns = [episode["r"] for episode in model.ep_info_buffer]
    last = float(np.mean(returns[-EPISODES:]))
    return {
        "env": ENV,
        "algorithm": algorithm,
        "norm": norm,
        "seed": seed,
        "units": units,
        "steps": steps,
        f"mean_of_first_{EPISODES}_returns": round(float(np.mean(returns[:EPISODES])), 6),
        f"mean_of_last_{EPISODES}_returns": round(last, 6),
        "solved": last >= SOLVED,
        "weights_sha256": digest(model.policy),
        "cpu_s": round(time.process_time() - began_s, 1),
        "commit": git_commit() or "",
    }


def digest(policy: torch.nn.Module) -> str:
    """Return the start of the SHA-256 of all weights, which is equal only if every bit is."""
    found = hashlib.sha256()
    for weight in policy.parameters():
        found.update(weight.detach().numpy().tobytes())
    return found.hexdigest()[:16]


def main() -> None:
    """Train every algorithm, policy and seed; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = list(ALGORITHMS)
    parser.add_argument("--algorithm", nargs="+", choices=names, default=names, help="algorithms")
    norms = ["weight", "none", "stock"]
    parser.add_argument("--norm", nargs="+", default=norms, help="normalizations, or stock")
    seeds = [1, 2, 3, 4, 5]
    parser.add_argument("--seeds", nargs="+", type=int, default=seeds, help="random seeds")
    parser.add_argument("--steps", type=int, default=6_000, help="environment steps of each run")
    parser.add_argument("--units", type=int, default=64, help="units of each hidden layer")
    parser.add_argument("--csv", type=Path, help="file for the table")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed, *each in itertools.product(given.seeds, given.algorithm, given.norm):
        rows.append(solve(*each, seed, given.steps, given.units))
        show(rows[-1])
        if given.csv:
            write_csv(given.csv, rows)


if __name__ == "__main__":
    main()
