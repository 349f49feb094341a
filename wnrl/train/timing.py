"""The time that acting and updating take, measured in the run itself."""

import time
from collections.abc import Callable

from torch import Tensor

from wnrl.agents.base import Agent
from wnrl.envs.vector import Actions, Flags, Observations, Step


def _nothing() -> None:
    pass


class Stopwatch:
    """Times an agent: the loop calls it in place of the agent, and it observes the agent's updates.

    It passes everything on to the agent and to the observer that the agent had before. One update
    is one step of the optimizer, with the sampling, the passes and the instruments around it.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        wait: Callable[[], None] = _nothing,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Attach it to an agent that has its observer already.

        Args:
            agent: the agent to time.
            wait: returns when the device has finished its queue; a GPU works on after a call has
                returned.
            now: a clock that never runs backwards, in s.
        """
        self._agent = agent
        self._observer = agent.learner.observer
        agent.learner.observer = self
        self._wait = wait
        self._now = now
        self._act_s = self._update_s = 0.0
        self._acts = self._updates = 0

    @property
    def update_overlaps(self) -> bool:
        """Pass on the agent's."""
        return self._agent.update_overlaps

    def act(self, obs: Observations, first: Flags) -> Actions:
        """Time the agent's `act`."""
        start_s = self._now()
        actions = self._agent.act(obs, first)
        self._act_s += self._now() - start_s
        self._acts += 1
        return actions

    def observe(self, step: Step) -> None:
        """Pass on to the agent."""
        self._agent.observe(step)

    def update(self) -> dict[str, Tensor] | None:
        """Time the agent's `update`."""
        before, start_s = self._updates, self._now()
        metrics = self._agent.update()
        if self._updates > before:
            self._wait()
            self._update_s += self._now() - start_s
        return metrics

    def looks(self, rows: int, ahead: int = 0) -> bool:
        """Pass on the question whether an update needs `before_step`."""
        return self._observer.looks(rows, ahead)

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Pass on that an update has its gradients."""
        self._observer.before_step(obs, learning_batch)

    def after_step(self) -> None:
        """Count an update and pass it on."""
        self._observer.after_step()
        self._updates += 1

    def pop_times(self) -> dict[str, float]:
        """Return the mean times since the last call, in ms by tag.

        `time/act_ms` is one `act` for all environments together. A tag is missing if nothing was
        timed for it.
        """
        means: dict[str, float] = {}
        if self._acts:
            means["time/act_ms"] = 1e3 * self._act_s / self._acts
        if self._updates:
            means["time/update_ms"] = 1e3 * self._update_s / self._updates
        self._act_s = self._update_s = 0.0
        self._acts = self._updates = 0
        return means
