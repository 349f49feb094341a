"""The loop: act, learn (while the emulator works, if the agent can), observe. It yields; whoever
logs listens.
"""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from wnrl.agents.base import Learner
from wnrl.envs.vector import Episode, EpisodeStatistics, VectorEnv


class Tick(NamedTuple):
    """What one step of all environments brought."""

    agent_steps: int  # actions that the emulators used since the start of the run
    episodes: list[Episode]  # that ended in this step
    metrics: dict[str, Tensor] | None  # of the newest update, if one was due


def run(
    env: VectorEnv,
    agent: Learner,
    statistics: EpisodeStatistics,
    agent_steps: int,
    until_steps: int,
) -> Iterator[Tick]:
    """Train until `until_steps` agent steps are done, yielding after every step.

    At each yield the agent has observed and has not acted, and no send is outstanding: a state
    taken there is whole. An update that overlaps stands between `send` and `recv`, so that
    emulators with threads of their own work meanwhile; it learns from what was observed before,
    whatever the timing, so the same seed repeats exactly. Others, whose next actions must come
    from what they just learnt, update after they observed.

    Args:
        env: reset or restored.
        agent: fresh or restored.
        statistics: fresh or restored.
        agent_steps: how many are done already.
        until_steps: when to end; the last step may pass it by fewer than N.
    """
    while agent_steps < until_steps:
        env.send(agent.act(env.obs, env.first))
        metrics = agent.update() if agent.update_overlaps else None
        step = env.recv()
        agent.observe(step)
        if not agent.update_overlaps:
            metrics = agent.update()
        agent_steps += int((~step.first).sum())
        yield Tick(agent_steps, statistics.update(step), metrics)
