"""The instruments of wnrl.instruments as a callback: what a normalization does to the network."""

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

# Stable-Baselines3 clips before the step: a clipped gradient is as long as the limit, to rounding.
_AT_THE_LIMIT = 1 - 1e-3


class SB3NormCallback(BaseCallback):
    """Logs `norm/<instrument>/<layer>` to the logger of the algorithm, TensorBoard included.

    `model.learn(..., callback=SB3NormCallback())`. It reads the network of a policy, stock or
    normalized, around every N-th step of its optimizer, and changes nothing. What the readings say
    stands in the README ("Reading the instruments"). They are kept out of the printed table.

    Args:
        every_updates: N, steps of the optimizer.
        verbose: as in Stable-Baselines3.

    Raises:
        UsageError: when training starts, for a policy that cannot be read: of dict observations, or
            recurrent.
        ValueError: N is negative.
    """

    def __init__(self, every_updates: int = 500, verbose: int = 0) -> None:
        if every_updates < 0:
            raise ValueError(f"every_updates must be at least 0, came {every_updates}")
        super().__init__(verbose)
        self.every_updates = every_updates
        self._policy: BasePolicy | None = None  # that the instruments read
        self._instruments: Instruments | None = None
        self._optimizer: ClippedStep | None = None  # never stepped: it holds the gradients' norm
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._seen: Tensor | None = None  # what the features extractor last took to learn

    def _on_training_start(self) -> None:
        self._on_training_end()  # a learn() that was interrupted has left its hooks
        policy = self.model.policy
        if isinstance(policy.observation_space, spaces.Dict):
            raise UsageError(
                "SB3NormCallback reads observations that are one array, and these are a "
                "spaces.Dict: leave it out"
            )
        network, extractor = network_view(policy)
        if policy is not self._policy:  # a second learn() goes on where the first stopped
            self._policy = policy
            self._optimizer = ClippedStep(policy.optimizer)
            limit = getattr(self.model, "max_grad_norm", None)
            discrete = isinstance(policy.action_space, spaces.Discrete)
            self._instruments = Instruments(
                network,
                self._optimizer,
                self.every_updates,
                max_grad_norm=math.inf if limit is None else limit * _AT_THE_LIMIT,
                actions=greedy_actions if discrete else lambda output: None,
            )

        # Functions, not methods: a copy of the network must not copy the callback with its hooks.
        def see(extractor: nn.Module, inputs: tuple[Any, ...]) -> None:
            if torch.is_grad_enabled():
                self._seen = inputs[0].detach()

        def before(*_: Any) -> None:
            self._before_step()

        def after(*_: Any) -> None:
            self._after_step()

        self._handles = [
            extractor.register_forward_pre_hook(see),
            policy.optimizer.register_step_pre_hook(before),
            policy.optimizer.register_step_post_hook(after),
        ]

    def _before_step(self) -> None:
        assert self._instruments is not None
        assert self._optimizer is not None
        self._optimizer.grad_norm = _gradient_norm(self._optimizer)
        if self._seen is not None:
            self._instruments.before_step(self._seen)

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
    """() Of all gradients as they are."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
