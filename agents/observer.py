"""What an agent tells of each update to whoever watches it. An agent never asks who that is."""

from typing import Protocol

from torch import Tensor


class UpdateObserver(Protocol):
    """Is called around every step of an agent's optimizer, and changes nothing of the agent."""

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Gradients are there and the step is not taken.

        Args:
            obs: (B, ...) the states that were learnt at, on the network's device; the caller may
                overwrite them later.
            learning_batch: what the network took to learn, in one forward: `obs`, or more.
        """
        ...

    def after_step(self) -> None:
        """The step is taken, and whatever the normalization does after it."""
        ...


class Unobserved:
    """Watches nothing."""

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Nothing."""

    def after_step(self) -> None:
        """Nothing."""
