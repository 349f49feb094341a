"""Evaluate the newest checkpoint of a run, and print the result.

It writes nothing but the video.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wnrl._settings import UsageError
from wnrl.config import replace
from wnrl.doctor.device import resolve_device
from wnrl.envs.guard.guarded_env import EnvironmentFault
from wnrl.envs.seeding import numpy_generator
from wnrl.envs.vector import Episode, Flags, Observations, Recording
from wnrl.evaluate.video import check_video, write_video
from wnrl.train.build import build_agent, build_network, evaluation_env, resolve
from wnrl.train.evaluation import evaluate_policy, ignore_episode, longest_episode_steps
from wnrl.train.exit_codes import ExitCode
from wnrl.train.faults.exit import report_fault
from wnrl.train.foreign_text import visible
from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.run_folder import loading, naming_modules, read_config
from wnrl.train.video.episode_recorder import EpisodeRecorder, Watching


class Evaluation(NamedTuple):
    """The episodes that a run's newest checkpoint played."""

    agent_steps: int  # at the checkpoint
    episodes: list[Episode]  # in the order of their ends
    recording: Recording | None  # of the first one, if it was asked for


def evaluate_run(
    run_dir: Path,
    episodes: int,
    *,
    epsilon: float | None = None,
    seed: int = 0,
    device: str = "auto",
    listen: Callable[[Episode], None] = ignore_episode,
    record: bool = False,
    see: Callable[[Observations, Flags], None] | None = None,
) -> Evaluation:
    """Evaluate the newest checkpoint of a run.

    Args:
        run_dir: the run's folder.
        episodes: number of episodes.
        epsilon: probability of a random action; None takes that of the run's evaluations.
        seed: random seed, independent of all random numbers of the training.
        device: auto, cpu, cuda or cuda:K.
        listen: called with each episode when it ends.
        record: keep the pictures of the first episode that ends.
        see: called with all that the policy acts on: observations and which of them are first.

    Raises:
        UsageError: no run, no usable checkpoint, or one that this version cannot read; or an
            environment that has no pictures.
    """
    config = replace(read_config(run_dir), init="default")  # a checkpoint's weights replace it
    saved = Checkpoints(run_dir).latest(weights_only=True)
    if saved is None:
        raise UsageError(f"{run_dir} has no checkpoint yet; train it longer first")
    parts = resolve(config)
    with naming_modules(run_dir):
        env = evaluation_env(parts, episodes, "evaluation of a run", seed)

    try:
        recorder = EpisodeRecorder(env, config.run.env, "video") if record else None
        network, _ = build_network(parts, env)
        with loading(run_dir, saved.step):
            network.load_state_dict(saved.network())
        # Only the agent's policy is needed, so its stores are small.
        small = replace(config, num_envs=env.num_envs, rollout_steps=1, minibatches=1)
        small = replace(small, **small.agent.calibration())
        agent = build_agent(resolve(small), env, network, resolve_device(device))
        chosen = parts.evaluation_epsilon if epsilon is None else epsilon
        policy = agent.policy(chosen, numpy_generator(seed, "evaluation policy"))
        if recorder is not None:
            policy, listen = recorder.watching(policy), recorder.listening(listen)
        if see is not None:
            policy = Watching(policy, see)
        played = evaluate_policy(
            env, policy, episodes, listen=listen, cap_steps=longest_episode_steps(config)
        )
    finally:
        env.close()
    return Evaluation(saved.step, played, None if recorder is None else recorder.recording)


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
    """Evaluate as the flags say; print the episodes and the result, and write the video."""
    run_dir = Path(given["run_dir"])
    video = Path(given["video"]) if given["video"] else None
    if video is not None:
        check_video(video)
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
        record=video is not None,
    )
    print(f"{visible(run_dir)} {describe(evaluation)}", flush=True)
    if video is not None:
        assert evaluation.recording is not None, "an episode has ended"
        pictures = write_video(video, evaluation.recording)
        print(
            f"{visible(video)}: {pictures:,} pictures of the first episode that ended (raw return "
            f"{evaluation.episodes[0].raw_return:.1f})"
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
