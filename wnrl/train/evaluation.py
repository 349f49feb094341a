"""Evaluation: whole episodes of a frozen policy in separate environments."""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wnrl._settings import SettingError
from wnrl.agents.base import Agent, Policy, ValuePolicy
from wnrl.config import Config
from wnrl.envs.guard.guarded_env import EnvironmentFault
from wnrl.envs.protocols import CUSTOM
from wnrl.envs.seeding import numpy_generator
from wnrl.envs.vector import Episode, EpisodeStatistics, VectorEnv
from wnrl.instruments.value_error import ValueGap
from wnrl.train.build import RunParts, evaluation_env, resolve
from wnrl.train.video.clip import Clip, encoded
from wnrl.train.video.episode_recorder import EpisodeRecorder

MAX_EPISODE_STEPS = 27_000  # the cap of both Atari protocols: 30 minutes of play


class AgentEvaluation(NamedTuple):
    """The results of one evaluation of a run."""

    episodes: list[Episode]  # none if it was abandoned
    scalars: dict[str, float]  # by tag, how well the values predicted the episodes
    clip: Clip | None  # of the first episode that ended, if it was asked for
    no_clip: str  # why there is none although it was asked for; empty otherwise


NOTHING_EVALUATED = AgentEvaluation([], {}, None, "")


def check_eval_video(parts: RunParts) -> None:
    """Refuse clips of an environment that cannot be shown; one picture of it is drawn.

    Raises:
        SettingError: it has no pictures, or cannot draw one here; or the run has no evaluations.
    """
    run = parts.config.run
    if not run.eval_video:
        return
    if not run.eval_every_steps:
        raise SettingError("eval_video", "needs evaluations: give --eval-every-steps too")
    with contextlib.closing(evaluation_env(parts, 1, "evaluation", 0)) as env:
        EpisodeRecorder(env, run.env, "eval_video")
        if env.records:
            env.reset()
            try:
                next(iter(env.recording(0).pictures))
            except EnvironmentFault as fault:
                problem = f"cannot show {run.env} here: {fault}; leave it out"
                raise SettingError("eval_video", problem) from fault


def evaluate_agent(
    config: Config, agent: Agent, agent_steps: int, should_stop: Callable[[], bool]
) -> AgentEvaluation:
    """Evaluate the current policy of a run, without changing anything in the run.

    Args:
        config: the run's configuration.
        agent: the run's agent.
        agent_steps: agent steps done, which seed the evaluation.
        should_stop: called after each step; True abandons the evaluation.
    """
    run, learner, parts = config.run, config.agent, resolve(config)
    generator = numpy_generator(run.seed, "evaluation policy", agent_steps)
    with contextlib.closing(
        evaluation_env(parts, run.eval_episodes, "evaluation", agent_steps)
    ) as env:
        policy = agent.policy(parts.evaluation_epsilon, generator)
        values = None
        if isinstance(policy, ValuePolicy) and run.instruments_every_updates:
            values = ValueGap(
                policy, env.num_envs, learner.gamma, clip_rewards=learner.clip_rewards
            )
        recorder = EpisodeRecorder(env, run.env, "eval_video") if run.eval_video else None
        listen: Callable[[Episode], None] = ignore_episode
        if recorder is not None:
            policy, listen = recorder.watching(policy), recorder.listening(listen)
        episodes = evaluate_policy(
            env,
            policy,
            run.eval_episodes,
            listen=listen,
            should_stop=should_stop,
            values=values,
            cap_steps=longest_episode_steps(config),
        )
        if not episodes:
            return NOTHING_EVALUATED
        scalars = {} if values is None else values.result().scalars()
        return AgentEvaluation(episodes, scalars, *_clip(recorder))


def _clip(recorder: EpisodeRecorder | None) -> tuple[Clip | None, str]:
    """Encode what was recorded, if anything; an environment that cannot draw it ends no run."""
    if recorder is None:
        return None, ""
    if recorder.recording is None:
        return None, "its first episode was cut"
    try:
        return encoded(recorder.recording), ""
    except Exception as error:  # a renderer may raise whatever it likes
        return None, f"{type(error).__name__}: {error}"


def ignore_episode(episode: Episode) -> None:
    """Do nothing with an episode."""


def longest_episode_steps(config: Config) -> int:
    """Return the agent steps after which an evaluation cuts an episode of a run."""
    protocol = config.protocol
    if protocol is None or protocol.name != CUSTOM:
        return MAX_EPISODE_STEPS
    return protocol.max_episode_steps


def evaluate_policy(
    env: VectorEnv,
    policy: Policy,
    episodes: int,
    *,
    listen: Callable[[Episode], None] = ignore_episode,
    should_stop: Callable[[], bool] = lambda: False,
    values: ValueGap | None = None,
    cap_steps: int = 0,
) -> list[Episode]:
    """Play whole episodes.

    Each environment plays a share fixed beforehand: to count the first episodes that end would
    favour short ones. An episode that reaches the cap is truncated there, and its environment plays
    no more, because some environments never end an episode by themselves.

    Args:
        env: it is reset here.
        policy: the policy that acts.
        episodes: number of episodes, at least 1.
        listen: called with each episode when it ends, before the next one begins.
        should_stop: called after each step; True abandons the evaluation.
        values: compares the policy's predictions with the returns of the episodes that count.
        cap_steps: the cap, in agent steps; 0 is `MAX_EPISODE_STEPS`.

    Returns:
        The episodes in the order of their ends; none if it was abandoned.
    """
    cap_steps = cap_steps or MAX_EPISODE_STEPS
    owed = np.full(env.num_envs, episodes // env.num_envs)  # (N,) episodes left to play
    owed[: episodes % env.num_envs] += 1
    statistics = EpisodeStatistics(env.num_envs)
    finished: list[Episode] = []
    env.reset()
    while owed.any():
        actions = policy.act(env.obs, env.first)
        if values is not None:
            values.acted(env.obs, actions)
        env.send(actions)
        step = env.recv()
        if values is not None:
            values.stepped(step)
        for episode in statistics.update(step):
            if owed[episode.env]:
                owed[episode.env] -= 1
                finished.append(episode)
                if values is not None:
                    values.ended(episode.env, cut=episode.truncated)
                listen(episode)
        for env_index in np.flatnonzero(owed).tolist():
            if statistics.length_steps(env_index) >= cap_steps:
                finished.append(statistics.cut(env_index))
                if values is not None:
                    values.ended(env_index, cut=True)
                owed[env_index] = 0
        if should_stop():
            return []
    return finished
