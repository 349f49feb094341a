"""The target network of Q-learning (Mnih et al. 2015)."""

from collections.abc import Mapping
from typing import Any

from wnrl.agents.learner import Learner


class TargetNetwork:
    """Copy of the online network that values the bootstrap, buffers included.

    It is a hard copy made every `period_steps` agent steps (Mnih et al. 2015, algorithm 1).
    """

    def __init__(self, learner: Learner, period_steps: int) -> None:
        self.network = learner.frozen_network().eval()
        self._learner = learner
        self._period_steps = period_steps
        self._copies = 0

    def follow(self, agent_steps: int) -> None:
        """Copy the online network if a period has passed."""
        if agent_steps // self._period_steps > self._copies:
            self._copies = agent_steps // self._period_steps
            self.network.load_state_dict(self._learner.network.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the copy and the number of periods passed."""
        return {"target": self.network.state_dict(), "target_copies": self._copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the state was taken; other keys of `state` are ignored."""
        self.network.load_state_dict(state["target"])
        self._copies = state["target_copies"]
