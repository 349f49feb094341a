"""Networks with a policy and a value, from one torso or from one each.

Layers and what normalizes them come from a `Norm` where it is placed, and are plain elsewhere.
Not here: the torsos themselves (`wnrl.nn.networks.torsos`), action values
(`wnrl.nn.networks.q_network`).

Dimension key: B batch, A actions, F features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.heads import PolicyValue
from wnrl.nn.networks.initialization import reset_parameters_
from wnrl.nn.networks.q_network import Initialize, check_actions, initialized
from wnrl.nn.networks.recurrent import LSTM, RecurrentActorCritic, recurrent_layers
from wnrl.nn.networks.torso import DEFAULT_HIDDEN, Torso
from wnrl.nn.networks.torsos import AUTO, build_torso, torso_layers
from wnrl.nn.norms.placement import Layout, norm_at, place
from wnrl.nn.norms.record import Norm


class ActorCritic(nn.Module):
    """A policy and a value: (B, *shape) -> `PolicyValue` of logits (B, A) and value (B,).

    Modules: `torso`, or `policy_torso` and `value_torso`; the heads `policy` and `value`, one
    layer each.

    Args:
        torso: of both heads, or of the policy if the value has its own.
        policy: (B, F) -> (B, A).
        value: (B, F) -> (B, 1).
        value_torso: the value's own, None to share.
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
        """(B, *shape) -> (B, A), (B,)."""
        if self.separate:
            logits, value = (
                self.policy(self.policy_torso(obs)),
                self.value(self.value_torso(obs)),
            )
        else:
            features = self.torso(obs)
            logits, value = self.policy(features), self.value(features)
        return PolicyValue(logits, value.squeeze(-1))  # (B, 1) -> (B,)


def build_actor_critic(
    shape: tuple[int, ...],
    dtype: str,
    num_actions: int,
    *,
    norm: Norm,
    where: str = "torso",
    hidden: Sequence[int] = DEFAULT_HIDDEN,
    network: str = AUTO,
    width: int = 1,
    separate: bool = False,
    lstm_units: int = 0,
    generator: torch.Generator,
    initialize: Initialize = reset_parameters_,
) -> ActorCritic | RecurrentActorCritic:
    """An actor-critic for an observation, initialized from `generator` alone.

    Args:
        shape: as in `assemble_actor_critic`.
        dtype: as there.
        num_actions: A.
        norm: as there.
        where: as there.
        hidden: as there.
        network: as there.
        width: as there.
        separate: as there.
        lstm_units: as there.
        generator: a CPU generator. The global one is left as it was.
        initialize: draws the weights; torch's distributions by default.

    Raises:
        UsageError: on a type, layer width, place or number of actions that cannot be.
    """

    def assemble() -> ActorCritic | RecurrentActorCritic:
        return assemble_actor_critic(
            shape,
            dtype,
            num_actions,
            norm=norm,
            where=where,
            hidden=hidden,
            network=network,
            width=width,
            separate=separate,
            lstm_units=lstm_units,
        )

    return initialized(assemble, norm, generator, initialize)


def assemble_actor_critic(
    shape: tuple[int, ...],
    dtype: str,
    num_actions: int,
    *,
    norm: Norm,
    where: str = "torso",
    hidden: Sequence[int] = DEFAULT_HIDDEN,
    network: str = AUTO,
    width: int = 1,
    separate: bool = False,
    lstm_units: int = 0,
) -> ActorCritic | RecurrentActorCritic:
    """An actor-critic for an observation, as torch initializes it, from the global generator.

    Args:
        shape: of one observation.
        dtype: "uint8" or "float32", as in `ObservationSpec`.
        num_actions: A.
        norm: of the layers that `where` names.
        where: words and names of `wnrl.nn.norms.placement.place`. With one torso `policy` and
        `value`
            are the output layers and a hidden layer is `conv1`; with two they are all hidden
            layers of that torso, one of which is `policy.conv1`, and `head` are the outputs.
        hidden: units of an MLP's layers.
        network: the architecture of each torso, as in `build_torso`.
        width: multiplies its channels, where it takes that.
        separate: a torso for the policy and one for the value, instead of one for both.
        lstm_units: of an LSTM between one torso and the heads, whose layer is `lstm`; 0 for none.

    Raises:
        UsageError: on a type, layer width, place or number of actions that cannot be.
    """
    check_actions(num_actions)
    recurrent = recurrent_layers(lstm_units)
    if recurrent and separate:
        raise UsageError(
            f"lstm_units {lstm_units} with separate torsos: an LSTM stands behind one torso, which "
            "policy and value share; leave one of the two out"
        )
    names = torso_layers(shape, dtype, network=network, hidden=hidden, width=width)
    heads = ("policy", "value")
    hidden_layers = (
        {head: tuple(f"{head}.{name}" for name in names) for head in heads}
        if separate
        else {"torso": (*names, *recurrent)}
    )
    layout = Layout(hidden_layers, {head: (head,) for head in heads}, recurrent)
    placed = place(where, norm, layout)

    def torso(prefix: str) -> Torso:
        own = {name for name in names if prefix + name in placed}
        return build_torso(
            shape, dtype, norm=norm, network=network, hidden=hidden, width=width, placed=own
        )

    torsos = [torso("policy."), torso("value.")] if separate else [torso("")]
    features = lstm_units or torsos[0].num_features
    policy = norm_at("policy", norm, placed).linear(features, num_actions)
    value = norm_at("value", norm, placed).linear(features, 1)
    if not lstm_units:
        return ActorCritic(torsos[0], policy, value, torsos[1] if separate else None)
    lstm = norm_at(LSTM, norm, placed).lstm(torsos[0].num_features, lstm_units)
    return RecurrentActorCritic(torsos[0], lstm, policy, value)
