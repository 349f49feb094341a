"""Agent steps per second of Breakout in Stable-Baselines3: AtariVecEnv against make_atari_env.

    pip install -c constraints.txt -e '.[bench]'
    python scripts/bench/sb3.py [--part step ppo dqn] [--norm weight] [--rounds 7] [--steps 1_000]
        [--threads N] [--csv FILE]

`step` steps one emulator (as DQN does) and eight (as PPO does) under random actions. `ppo` and
`dqn` train SB3's agents with the settings of its zoo (`learners.py`): SB3's policy on
make_atari_env, SB3's policy on AtariVecEnv, and wnrl's policy with each --norm on AtariVecEnv. The
learners of a part take turns in one process, as in `train.py`; ratios are to make_atari_env (with
SB3's policy) in the same round.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import stable_baselines3
import torch
from learners import SB3S, Learner, Policy, sb3, sb3_env
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv
from timing import write_csv
from train import Row, parse_with_turns, summary, take_turns

from wnrl._settings import UsageError
from wnrl.doctor.cpus import cpu_model
from wnrl.doctor.huge_pages import restart_with_huge_pages
from wnrl.doctor.software import git_commit
from wnrl.sb3 import AtariVecEnv, WNActorCriticCnnPolicy, WNCnnPolicy
from wnrl.sb3.norm_arguments import find_norm
from wnrl.train.flags import Parser, one_line

POLICIES: dict[str, Policy] = {"ppo": WNActorCriticCnnPolicy, "dqn": WNCnnPolicy}
STEPPED_ENVS = (1, 8)  # DQN's and PPO's
WARM_UP_ROUNDS = 20  # of stepping


def parsed(arguments: Sequence[str]) -> dict[str, Any]:
    """Parse and check the flags.

    Raises:
        UsageError: a flag is unknown or has an invalid value.
    """
    parser = Parser(prog="bench/sb3.py", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parts = ["step", *POLICIES]
    parser.add_argument(
        "--part", nargs="+", choices=parts, default=parts, help="parts of the benchmark"
    )
    parser.add_argument(
        "--norm", nargs="+", default=["weight"], help="normalizations of wnrl's policy"
    )
    given = parse_with_turns(parser, arguments)
    for norm in given["norm"]:
        find_norm(norm, {})
    return given


def stepper(name: str, peer: str, env: VecEnv) -> Learner:
    """An environment alone, under random actions."""
    generator = np.random.default_rng(1)
    env.reset()

    def advance(steps: int) -> int:
        for _ in range(steps // env.num_envs):
            env.step(generator.integers(0, env.action_space.n, env.num_envs))  # type: ignore[attr-defined]
        return steps

    return Learner(name, peer, env.num_envs, WARM_UP_ROUNDS * env.num_envs, advance)


def steppers(num_envs: int) -> list[Learner]:
    """Every way to step `num_envs` emulators, SB3's default first."""
    ways = {
        "make_atari_env": sb3_env(num_envs),
        "make_atari_env, SubprocVecEnv": sb3_env(num_envs, SubprocVecEnv),
        "AtariVecEnv": AtariVecEnv("Breakout", num_envs, seed=1),
    }
    peer = f"step {num_envs}: {next(iter(ways))}"
    return [stepper(f"step {num_envs}: {way}", peer, env) for way, env in ways.items()]


def agents(agent: str, norms: Sequence[str]) -> list[Learner]:
    """SB3's agent on its own environment, on ours, and on ours with our policies."""

    def ours() -> VecEnv:
        return AtariVecEnv("Breakout", SB3S[agent].num_envs, seed=1)

    return [
        sb3(agent),
        sb3(agent, ours(), name=f"sb3 {agent}, AtariVecEnv"),
        *(
            sb3(agent, ours(), POLICIES[agent], {"norm": norm}, f"sb3 {agent}, AtariVecEnv, {norm}")
            for norm in norms
        ),
    ]


def contests(parts: Sequence[str], norms: Sequence[str]) -> Iterator[list[Learner]]:
    """Yield the learners that take turns with each other; the first is the peer."""
    for part in dict.fromkeys(parts):
        if part == "step":
            yield from map(steppers, STEPPED_ENVS)
        else:
            yield agents(part, list(dict.fromkeys(norms)))


def line(row: Row) -> str:
    """Format a row for printing."""
    return (
        f"{row['agent']:<38} {row['steps_per_s_median']:>8} agent steps/s "
        f"({row['steps_per_s_min']} to {row['steps_per_s_max']}), {row['ratio_median']}x "
        f"({row['ratio_min']} to {row['ratio_max']})"
    )


def main() -> None:
    """Take turns, print the table, write the CSV."""
    try:
        given = parsed(sys.argv[1:])
    except UsageError as error:
        print(f"bench_sb3: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    torch.set_num_threads(given["threads"])
    rows: list[Row] = []
    for learners in contests(given["part"], given["norm"]):
        turns = take_turns(learners, given["rounds"], given["steps"])
        for learner in learners:
            rows.append(
                {
                    **summary(learner.name, turns, learner.peer),
                    "steps_per_round": learner.turn_steps(given["steps"]),
                    "threads": given["threads"],
                    "machine": cpu_model(),
                    "torch": torch.__version__,
                    "sb3": stable_baselines3.__version__,
                    "commit": git_commit() or "",
                    "peer": learner.peer,
                }
            )
            print(line(rows[-1]), flush=True)
    if given["csv"]:
        given["csv"].parent.mkdir(parents=True, exist_ok=True)
        write_csv(given["csv"], rows)


if __name__ == "__main__":
    restart_with_huge_pages()  # as in training
    main()
