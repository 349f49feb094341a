"""What the composers ask of an agent's hyperparameters, whichever agent it is."""

from collections.abc import Mapping
from typing import Any, Protocol

from wnrl._settings import UsageError, flag_name


class AgentConfig(Protocol):
    """A frozen, flat dataclass of `setting`s, with what follows from them."""

    @property
    def num_envs(self) -> int:
        """Environments stepped together."""
        ...

    @property
    def gamma(self) -> float:
        """The discount of a step."""
        ...

    @property
    def clip_rewards(self) -> bool:
        """Whether the learner sees rewards clipped to [-1, 1]."""
        ...

    @property
    def max_grad_norm(self) -> float:
        """Gradients longer than this are scaled down; 0 for never."""
        ...

    @property
    def learning_batch(self) -> int:
        """Samples in the smallest batch that the network learns from."""
        ...

    @property
    def warmup_steps(self) -> int:
        """Agent steps of random actions before anything is learnt."""
        ...

    @property
    def goes_by_schedule(self) -> bool:
        """Whether anything depends on --schedule-steps."""
        ...

    @property
    def recurrent(self) -> bool:
        """Whether the network remembers."""
        ...

    def updates(self, agent_steps: int) -> int:
        """Steps of the optimizer in that many agent steps."""
        ...

    def calibration(self) -> Mapping[str, Any]:
        """Changes that make a short trial cost per agent step what the run costs."""
        ...


def check_minibatches(parts: int, minibatches: int, what: str, flags: tuple[str, ...]) -> None:
    """UsageError unless `parts` of a rollout can be dealt into that many equal minibatches.

    Args:
        parts: rows or environments of a rollout.
        minibatches: of a pass.
        what: the parts, for the message.
        flags: the names of the settings that make their number.
    """
    if parts % minibatches:
        nearest = _nearest_divisor(parts, minibatches)
        raise UsageError(
            f"--minibatches {minibatches} does not divide the {parts:_} {what} of a rollout "
            f"({' x '.join('--' + flag_name(flag) for flag in flags)}); {nearest} does"
        )


def _nearest_divisor(whole: int, near: int) -> int:
    """The divisor closest to a number, the smaller of two; found from there, as `whole` is huge."""
    near = min(near, whole)
    both_sides = (n for distance in range(near) for n in (near - distance, near + distance))
    return next(n for n in both_sides if whole % n == 0)
