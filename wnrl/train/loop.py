"""The training loop: act, update, observe. It yields after each step; its callers log and save."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from wnrl.agents.base import LoopAgent
from wnrl.envs.vector import Episode, EpisodeStatistics, VectorEnv


class Tick(NamedTuple):
    """The result of one step of all environments."""

    agent_steps: int  # actions used by the environments since the start of the run
    episodes: list[Episode]  # episodes that ended in this step
    metrics: dict[str, Tensor] | None  # metrics of the newest update; None if none was due


def run(
    env: VectorEnv,
    agent: LoopAgent,
    statistics: EpisodeStatistics,
    agent_steps: int,
    until_steps: int,
) -> Iterator[Tick]:
    """Train until `until_steps` agent steps are done, yielding after every step.

    At each yield the agent has observed and not yet acted, and no `send` is outstanding, so a
    checkpoint taken there is complete. An agent whose update overlaps updates between `send` and
    `recv`, while the emulator's threads work. It learns from earlier observations only, whatever
    the timing, so the same seed repeats exactly. The other agents update after `observe`.

    Args:
        env: reset or restored, with N environments.
        agent: fresh or restored.
        statistics: fresh or restored.
        agent_steps: agent steps done already.
        until_steps: agent steps at which to end; the last step may pass it by fewer than N.
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


def crossed(before_steps: int, after_steps: int, every_steps: int) -> bool:
    """Return whether a multiple of `every_steps` lies in (before, after]; never for 0."""
    return every_steps > 0 and after_steps // every_steps > before_steps // every_steps
