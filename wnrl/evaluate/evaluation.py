"""Evaluate the newest checkpoint of a run, and print the result.

It writes nothing but the GIF.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wnrl._settings import UsageError
from wnrl.config import replace
from wnrl.doctor.device import resolve_device
from wnrl.envs.action_log import ActionLog
from wnrl.envs.atari import Atari
from wnrl.envs.episode_gif import write_episode_gif
from wnrl.envs.guard.guarded_env import EnvironmentFault
from wnrl.envs.make import is_atari
from wnrl.envs.seeding import numpy_generator
from wnrl.envs.vector import Episode
from wnrl.train.build import build_agent, build_network, evaluation_env, resolve
from wnrl.train.evaluation import evaluate_policy, longest_episode_steps
from wnrl.train.exit_codes import ExitCode
from wnrl.train.faults.exit import report_fault
from wnrl.train.foreign_text import visible
from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.run_folder import loading, naming_modules, read_config


class Evaluation(NamedTuple):
    """The episodes that a run's newest checkpoint played."""

    agent_steps: int  # at the checkpoint
    episodes: list[Episode]  # in the order of their ends
    first_log: ActionLog | None  # from which the first one can be drawn; only on Atari


def evaluate_run(
    run_dir: Path,
    episodes: int,
    *,
    epsilon: float | None = None,
    seed: int = 0,
    device: str = "auto",
    listen: Callable[[Episode], None] = lambda episode: None,
) -> Evaluation:
    """Evaluate the newest checkpoint of a run.

    Args:
        run_dir: the run's folder.
        episodes: number of episodes.
        epsilon: probability of a random action; None takes that of the run's evaluations.
        seed: random seed, independent of all random numbers of the training.
        device: auto, cpu, cuda or cuda:K.
        listen: called with each episode when it ends.

    Raises:
        UsageError: no run, no usable checkpoint, or one that this version cannot read.
    """
    config = replace(read_config(run_dir), init="default")  # a checkpoint's weights replace it
    saved = Checkpoints(run_dir).latest(weights_only=True)
    if saved is None:
        raise UsageError(f"{run_dir} has no checkpoint yet; train it longer first")
    logs: list[ActionLog] = []
    parts = resolve(config)
    with naming_modules(run_dir):
        env = evaluation_env(parts, episodes, "evaluation of a run", seed)

    def keep_first_log(episode: Episode) -> None:
        if isinstance(env, Atari) and not logs:
            logs.append(env.action_log(episode.env))
        listen(episode)

    try:
        network, _ = build_network(parts, env)
        with loading(run_dir, saved.step):
            network.load_state_dict(saved.network())
        # Only the agent's policy is needed, so its stores are small.
        small = replace(config, num_envs=env.num_envs, rollout_steps=1, minibatches=1)
        small = replace(small, **small.agent.calibration())
        agent = build_agent(resolve(small), env, network, resolve_device(device))
        chosen = parts.evaluation_epsilon if epsilon is None else epsilon
        policy = agent.policy(chosen, numpy_generator(seed, "evaluation policy"))
        played = evaluate_policy(
            env, policy, episodes, listen=keep_first_log, cap_steps=longest_episode_steps(config)
        )
    finally:
        env.close()
    return Evaluation(saved.step, played, logs[0] if logs else None)


def evaluate_and_print(given: dict[str, Any]) -> ExitCode:
    """Evaluate as the flags of `wnrl.evaluate` say; return the exit code.

    Raises:
        UsageError: a run that cannot be evaluated.
    """
    try:
        _evaluate_and_print(given)
    except EnvironmentFault as fault:
        return report_fault("wnrl.evaluate", fault)
    return ExitCode.DONE


def _evaluate_and_print(given: dict[str, Any]) -> None:
    """Evaluate as the flags say; print the episodes and the result, and draw the GIF."""
    run_dir = Path(given["run_dir"])
    config = read_config(run_dir)
    run = config.run
    if given["gif"] and not is_atari(run.env):
        raise UsageError(f"--gif draws only Atari games, not {run.env}; leave it out")
    evaluation = evaluate_run(
        run_dir,
        given["episodes"],
        epsilon=given["epsilon"],
        seed=given["seed"],
        device=given["device"],
        listen=lambda episode: print(
            f"raw return {episode.raw_return:.1f} in {episode.length_steps:,} agent steps",
            file=sys.stderr,
            flush=True,
        ),
    )
    print(f"{visible(run_dir)} {describe(evaluation)}", flush=True)
    if given["gif"]:
        assert evaluation.first_log is not None, "Atari keeps logs"
        assert config.protocol is not None, "only Atari is drawn"
        frames = write_episode_gif(
            Path(given["gif"]), run.env, config.protocol, evaluation.first_log
        )
        print(
            f"{visible(given['gif'])}: the first {frames:,} agent steps of the first episode that "
            f"ended (raw return {evaluation.episodes[0].raw_return:.1f})"
        )


def describe(evaluation: Evaluation) -> str:
    """Return the result in one line."""
    cut = sum(episode.truncated for episode in evaluation.episodes)
    returns = np.array([episode.raw_return for episode in evaluation.episodes])
    length_steps = np.mean([episode.length_steps for episode in evaluation.episodes])
    return (
        f"at {evaluation.agent_steps:,} agent steps: {len(returns)} episodes, raw return "
        f"mean {returns.mean():.1f}, median {np.median(returns):.1f}, "
        f"min {returns.min():.1f}, max {returns.max():.1f}, "
        f"mean length {length_steps:.0f} agent steps"
        + (f", {cut} cut at a time limit" if cut else "")
    )
