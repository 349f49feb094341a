"""What an agent tells of each update to whoever watches it. An agent never asks who that is."""

from typing import Protocol

from torch import Tensor


class UpdateObserver(Protocol):
    """Is called around every step of an agent's optimizer, and changes nothing of the agent."""

    def before_step(self, obs: Tensor) -> None:
        """Gradients are there and the step is not taken.

        Args:
            obs: (B, ...) the observations of the batch, on the network's device; the caller may
                overwrite them later.
        """
        ...

    def after_step(self) -> None:
        """The step is taken, and whatever the normalization does after it."""
        ...


class Unobserved:
    """Watches nothing."""

    def before_step(self, obs: Tensor) -> None:
        """Nothing."""

    def after_step(self) -> None:
        """Nothing."""
