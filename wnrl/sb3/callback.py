"""The instruments of `wnrl.instruments` as a callback of Stable-Baselines3."""

import math
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.instruments.instruments import Instruments, greedy_actions
from wnrl.optim.step import ClippedStep
from wnrl.sb3.network_view import network_view

# Stable-Baselines3 clips before the step, so a clipped gradient's norm is the limit up to rounding.
_CLIPPED_FROM = 1 - 1e-3  # share of the limit from which a gradient counts as clipped


class SB3NormCallback(BaseCallback):
    """Log `norm/<instrument>/<layer>` to the algorithm's logger, and so to TensorBoard.

    Use it as `model.learn(..., callback=SB3NormCallback())`. It reads a policy's network, stock or
    normalized, around every N-th optimizer step and changes nothing. The readings are not printed
    in the table on the screen.

    Args:
        every_updates: N, optimizer steps between readings.
        verbose: as in Stable-Baselines3.

    Raises:
        UsageError: when training starts, for a policy that cannot be read: one with dict
            observations, or a recurrent one.
        ValueError: N is negative.
    """

    def __init__(self, every_updates: int = 500, verbose: int = 0) -> None:
        if every_updates < 0:
            raise ValueError(f"every_updates must be at least 0, not {every_updates}")
        super().__init__(verbose)
        self.every_updates = every_updates
        self._policy: BasePolicy | None = None  # the one that the instruments read
        self._instruments: Instruments | None = None
        self._optimizer: ClippedStep | None = None  # never stepped; holds the gradients' norm
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._inputs: Tensor | None = None  # the features extractor's last input in learning

    def _on_training_start(self) -> None:
        self._on_training_end()  # an interrupted learn() leaves its hooks
        policy = self.model.policy
        if isinstance(policy.observation_space, spaces.Dict):
            raise UsageError(
                "SB3NormCallback reads observations that are one array, and this policy's are a "
                "spaces.Dict: leave it out"
            )
        network, extractor = network_view(policy)
        if policy is not self._policy:  # a second learn() continues the readings
            self._policy = policy
            self._optimizer = ClippedStep(policy.optimizer)
            limit = getattr(self.model, "max_grad_norm", None)
            discrete = isinstance(policy.action_space, spaces.Discrete)
            self._instruments = Instruments(
                network,
                self._optimizer,
                self.every_updates,
                max_grad_norm=math.inf if limit is None else limit * _CLIPPED_FROM,
                actions=greedy_actions if discrete else lambda output: None,
            )

        # Functions, not methods: a copy of the network must not copy the callback with its hooks.
        def remember(extractor: nn.Module, inputs: tuple[Any, ...]) -> None:
            if torch.is_grad_enabled():
                self._inputs = inputs[0].detach()

        def before(*_: Any) -> None:
            self._before_step()

        def after(*_: Any) -> None:
            self._after_step()

        self._handles = [
            extractor.register_forward_pre_hook(remember),
            policy.optimizer.register_step_pre_hook(before),
            policy.optimizer.register_step_post_hook(after),
        ]

    def _before_step(self) -> None:
        assert self._instruments is not None
        assert self._optimizer is not None
        self._optimizer.grad_norm = _gradient_norm(self._optimizer)
        if self._inputs is not None:
            self._instruments.before_step(self._inputs)

    def _after_step(self) -> None:
        assert self._instruments is not None
        self._instruments.after_step()
        for tag, value in self._instruments.pop_reading().items():
            self.logger.record(tag, float(value), exclude="stdout")

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


@torch.no_grad()
def _gradient_norm(optimizer: ClippedStep) -> Tensor:
    """Return the norm () of all gradients, without clipping."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
