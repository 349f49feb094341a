"""Whole episodes of a frozen policy on environments of its own."""

from collections.abc import Callable

import numpy as np

from wnrl.agents.base import Policy
from wnrl.envs.vector import Episode, EpisodeStatistics, VectorEnv
from wnrl.instruments.value_error import ValueGap

MAX_EPISODE_STEPS = 27_000  # the cap of both Atari protocols: 30 minutes of play


def evaluate_policy(
    env: VectorEnv,
    policy: Policy,
    episodes: int,
    *,
    listen: Callable[[Episode], None] = lambda episode: None,
    should_stop: Callable[[], bool] = lambda: False,
    values: ValueGap | None = None,
) -> list[Episode]:
    """Play whole episodes.

    Each environment owes a share fixed beforehand; taking whichever end first would favour short
    episodes. An episode of `MAX_EPISODE_STEPS` is cut there, truncated, and its environment plays
    no more: some environments end no episode by themselves, and a greedy policy may walk in them
    forever.

    Args:
        env: not yet reset; it is reset here.
        policy: what acts.
        episodes: how many, at least 1.
        listen: told of each episode when it ends, before the next one begins.
        should_stop: asked after each step; True gives the evaluation up.
        values: compares the policy's predictions with what comes, on the episodes that count.

    Returns:
        The episodes in the order of their ends; none if it was given up.
    """
    owed = np.full(env.num_envs, episodes // env.num_envs)
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
            if statistics.length_steps(env_index) >= MAX_EPISODE_STEPS:
                finished.append(statistics.cut(env_index))
                if values is not None:
                    values.ended(env_index, cut=True)
                owed[env_index] = 0
        if should_stop():
            return []
    return finished
