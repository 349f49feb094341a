"""The instruments of `wnrl.instruments` as a callback of Stable-Baselines3."""

import math
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.instruments.instruments import Instruments, greedy_actions
from wnrl.nn.networks.heads import PolicyValue
from wnrl.optim.step import ClippedStep

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


class ValueView(nn.Module):
    """Preprocessed observations (B, ...) -> action values (B, A); layers named as in the policy."""

    def __init__(self, network: nn.Module, head: str, num_actions: int) -> None:
        super().__init__()
        self.features_extractor = network.features_extractor
        self.add_module(head, network.get_submodule(head))
        self._head = head
        self._num_actions = num_actions

    def forward(self, obs: Tensor) -> Tensor:
        """(B, ...) -> (B, A), the mean over quantiles if there are any."""
        features = self.get_submodule("features_extractor")(obs)
        output: Tensor = self.get_submodule(self._head)(features)
        return output.view(len(output), -1, self._num_actions).mean(dim=1)


class ActorCriticView(nn.Module):
    """Preprocessed observations (B, ...) -> logits or means (B, A), and values (B,)."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.features_extractor = policy.features_extractor
        self.vf_features_extractor = policy.vf_features_extractor
        self.mlp_extractor = policy.mlp_extractor
        self.action_net = policy.action_net
        self.value_net = policy.value_net

    def forward(self, obs: Tensor) -> PolicyValue:
        """(B, ...) -> (B, A), (B,)."""
        features = self.features_extractor(obs)
        shared = self.vf_features_extractor is self.features_extractor
        value_features = features if shared else self.vf_features_extractor(obs)
        value = self.value_net(self.mlp_extractor.forward_critic(value_features))
        logits = self.action_net(self.mlp_extractor.forward_actor(features))
        return PolicyValue(logits, value.squeeze(1))


def network_view(policy: BasePolicy) -> tuple[nn.Module, nn.Module]:
    """Return the learning network as a function, and the features extractor that it begins with.

    Raises:
        UsageError: a recurrent policy, or one of another algorithm.
    """
    policy = getattr(policy, "_orig_mod", policy)  # torch.compile's wrapper holds the policy there
    for head in ("q_net", "quantile_net"):
        if hasattr(policy, head):
            network, actions = policy.get_submodule(head), policy.action_space
            assert isinstance(actions, spaces.Discrete)
            view = ValueView(network, head, int(actions.n))
            return view, view.get_submodule("features_extractor")
    if isinstance(policy, ActorCriticPolicy) and not hasattr(policy, "lstm_actor"):
        return ActorCriticView(policy), policy.features_extractor
    raise UsageError(
        f"the network of {type(policy).__name__} cannot be read; use a policy of DQN, QR-DQN, PPO "
        "or A2C without an LSTM"
    )
