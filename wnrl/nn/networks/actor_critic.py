"""Actor-critics: networks with a policy and a value, on one torso or on one each.

A `Norm` makes the layers where it is placed; all other layers are plain.

Not here: the torsos themselves (`wnrl.nn.networks.torsos`), action values
(`wnrl.nn.networks.q_network`).

Dimension key: B batch, A actions, F features.
"""

import math

import torch
from torch import Tensor, nn

from wnrl.nn.networks.heads import PolicyValue
from wnrl.nn.networks.initialization import init_orthogonal_, reset_parameters_
from wnrl.nn.networks.q_network import Initialize, initialized
from wnrl.nn.networks.recurrent import LSTM, RecurrentActorCritic, recurrent_layers
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.networks.torso import Torso
from wnrl.nn.norms.placement import Layout, norm_at, place


class ActorCritic(nn.Module):
    """A policy and a value: (B, *shape) -> `PolicyValue` of logits (B, A) and value (B,).

    Modules: `torso`, or `policy_torso` and `value_torso`; the heads `policy` and `value`, one
    layer each.

    Args:
        torso: torso of both heads, or of the policy alone if there is a `value_torso`.
        policy: (B, F) -> (B, A).
        value: (B, F) -> (B, 1).
        value_torso: second torso for the value; None to share one.
    """

    def __init__(
        self, torso: Torso, policy: nn.Module, value: nn.Module, value_torso: Torso | None = None
    ) -> None:
        super().__init__()
        self.separate = value_torso is not None
        if value_torso is None:
            self.torso = torso
        else:
            self.policy_torso = torso
            self.value_torso = value_torso
        self.policy = policy
        self.value = value

    def forward(self, obs: Tensor) -> PolicyValue:
        """Return logits (B, A) and value (B,) of observations (B, *shape)."""
        if self.separate:
            logits, value = self.policy(self.policy_torso(obs)), self.value(self.value_torso(obs))
        else:
            features = self.torso(obs)
            logits, value = self.policy(features), self.value(features)
        return PolicyValue(logits, value.squeeze(-1))  # (B, 1) -> (B,)


def build_actor_critic(
    spec: NetworkSpec, generator: torch.Generator, initialize: Initialize = reset_parameters_
) -> ActorCritic | RecurrentActorCritic:
    """Build an actor-critic whose weights are drawn from `generator` alone.

    Args:
        spec: the network.
        generator: a CPU generator. The global one does not change.
        initialize: draws the weights; torch's distributions by default.

    Raises:
        UsageError: a type, layer width or place that the network cannot have.
    """
    return initialized(lambda: assemble_actor_critic(spec), spec.norm, generator, initialize)


def assemble_actor_critic(spec: NetworkSpec) -> ActorCritic | RecurrentActorCritic:
    """Assemble an actor-critic as torch initializes it, from the global generator.

    In placement, with one torso, `policy` and `value` are the output layers, and a hidden layer is
    `conv1`. With two torsos, `policy` and `value` are all hidden layers of that torso, a hidden
    layer is `policy.conv1`, and `head` is both output layers. An LSTM is part of the torso.

    Raises:
        UsageError: a type, layer width or place that the network cannot have.
    """
    heads, recurrent = ("policy", "value"), recurrent_layers(spec.lstm_units)
    hidden: dict[str, tuple[str, ...]]
    if spec.separate:
        hidden = {head: tuple(f"{head}.{name}" for name in spec.torso_layers) for head in heads}
    else:
        hidden = {"torso": (*spec.torso_layers, *recurrent)}
    layout = Layout(hidden, {head: (head,) for head in heads}, recurrent)
    placed = place(spec.placed_at, spec.norm, layout)

    def torso(prefix: str) -> Torso:
        return spec.build_torso({name for name in spec.torso_layers if prefix + name in placed})

    torsos = [torso("policy."), torso("value.")] if spec.separate else [torso("")]
    features = spec.lstm_units or torsos[0].num_features
    policy = norm_at("policy", spec.norm, placed).linear(features, spec.num_actions)
    value = norm_at("value", spec.norm, placed).linear(features, 1)
    if not spec.lstm_units:
        return ActorCritic(torsos[0], policy, value, torsos[1] if spec.separate else None)
    lstm = norm_at(LSTM, spec.norm, placed).lstm(torsos[0].num_features, spec.lstm_units)
    return RecurrentActorCritic(torsos[0], lstm, policy, value)


def init_actor_critic_(network: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight orthogonally from `generator` alone.

    The gains are those of OpenAI baselines and SB3; the gain of an LSTM is CleanRL's.
    """
    gains = {"policy": 0.01, "value": 1.0, "lstm": 1.0}
    of_module = {module: gains[name] for name, module in network.named_children() if name in gains}
    init_orthogonal_(network, generator, gain=math.sqrt(2), gains=of_module)
