"""What acting and updating take in a run, measured in the run itself."""

import time
from collections.abc import Callable

from torch import Tensor

from wnrl.agents.base import Agent
from wnrl.envs.vector import Actions, Flags, Observations, Step


def _nothing() -> None:
    pass


class Stopwatch:
    """An agent as the loop sees it, timed; an observer as the agent sees it, who counts updates.

    It stands between the agent and who observed its updates before, and passes all on. One update
    is one step of the optimizer, with the sampling, the passes and the instruments around it.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        wait: Callable[[], None] = _nothing,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Attach it to an agent whose observer is attached already.

        Args:
            agent: whose calls are timed.
            wait: returns when the device has done what it was asked; a GPU works on after a call
                has returned.
            now: a clock that never runs backwards, in s.
        """
        self._agent = agent
        self._observer = agent.observer
        agent.observer = self
        self._wait = wait
        self._now = now
        self._act_s = self._update_s = 0.0
        self._acts = self._updates = 0

    @property
    def update_overlaps(self) -> bool:
        """As the agent's."""
        return self._agent.update_overlaps

    def act(self, obs: Observations, first: Flags) -> Actions:
        """As the agent's."""
        began_s = self._now()
        actions = self._agent.act(obs, first)
        self._act_s += self._now() - began_s
        self._acts += 1
        return actions

    def observe(self, step: Step) -> None:
        """As the agent's."""
        self._agent.observe(step)

    def update(self) -> dict[str, Tensor] | None:
        """As the agent's."""
        before, began_s = self._updates, self._now()
        metrics = self._agent.update()
        if self._updates > before:
            self._wait()
            self._update_s += self._now() - began_s
        return metrics

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """An update's gradients are there."""
        self._observer.before_step(obs, learning_batch)

    def after_step(self) -> None:
        """An update is done."""
        self._observer.after_step()
        self._updates += 1

    def take(self) -> dict[str, Tensor | float]:
        """Mean times since they were taken last, in ms by tag; nothing of what has not happened.

        `time/act_ms` is of one step of all environments together.
        """
        means: dict[str, Tensor | float] = {}
        if self._acts:
            means["time/act_ms"] = 1e3 * self._act_s / self._acts
        if self._updates:
            means["time/update_ms"] = 1e3 * self._update_s / self._updates
        self._act_s = self._update_s = 0.0
        self._acts = self._updates = 0
        return means
