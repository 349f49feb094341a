"""Q networks: a torso that turns observations into features, and a head for action values.

A `Norm` makes the layers where it is placed; all other layers are plain. Placement refers to layers
by name: `torso.layers.conv1` is `conv1`.

Not here: the torsos themselves (`wnrl.nn.networks.torsos`), policies
(`wnrl.nn.networks.actor_critic`).

Dimension key: B batch, A actions, F features.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from wnrl.nn.networks.heads import CategoricalHead, q_head
from wnrl.nn.networks.initialization import owned_global_randomness, reset_parameters_
from wnrl.nn.networks.recurrent import LSTM, RecurrentQNetwork, recurrent_layers
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.networks.torso import Torso
from wnrl.nn.norms.placement import Layout, norm_at, place
from wnrl.nn.norms.record import Norm

Network = TypeVar("Network", bound=nn.Module)
Initialize = Callable[[nn.Module, torch.Generator], None]  # draws all weights of a network


class QNetwork(nn.Module):
    """A torso and a head: (B, *shape) -> action values (B, A)."""

    def __init__(self, torso: Torso, head: nn.Module) -> None:
        super().__init__()
        self.torso = torso
        self.head = head

    def forward(self, obs: Tensor) -> Tensor:
        """Return action values (B, A) of observations (B, *shape)."""
        q: Tensor = self.head(self.torso(obs))
        return q

    def with_head(self, head: nn.Module) -> "QNetwork":
        """Return a network on the same torso, which it shares, with another head."""
        return QNetwork(self.torso, head)


def loss_view(network: nn.Module) -> nn.Module:
    """Return the network as its loss reads it.

    That is a network on the same layers with outputs (B, A, Z), the logits, if its head is
    categorical, and otherwise the network itself.
    """
    head = getattr(network, "head", None)
    if not isinstance(head, CategoricalHead):
        return network
    assert isinstance(network, QNetwork | RecurrentQNetwork), "they have categorical heads"
    return network.with_head(head.logits)


def initialized(
    assemble: Callable[[], Network],
    norm: Norm,
    generator: torch.Generator,
    initialize: Initialize,
) -> Network:
    """Assemble a network and draw every weight from `generator` alone.

    Args:
        assemble: builds the network as torch initializes it, from the global generator; that
            generator's state is restored.
        norm: normalization of the network; its part of the initialization comes last.
        generator: a CPU generator.
        initialize: draws the weights.
    """
    with owned_global_randomness(generator):
        network = assemble()
    initialize(network, generator)
    norm.initialize(network)
    return network


def build_q_network(
    spec: NetworkSpec, generator: torch.Generator, initialize: Initialize = reset_parameters_
) -> QNetwork | RecurrentQNetwork:
    """Build a Q network whose weights are drawn from `generator` alone.

    Args:
        spec: the network.
        generator: a CPU generator. The global one does not change.
        initialize: draws the weights; torch's distributions by default.

    Raises:
        UsageError: a type, layer width or place that the network cannot have.
    """
    return initialized(lambda: assemble_q_network(spec), spec.norm, generator, initialize)


def assemble_q_network(spec: NetworkSpec) -> QNetwork | RecurrentQNetwork:
    """Assemble a Q network as torch initializes it, from the global generator.

    The head's layer is called `head`; those of a dueling head are `value` and `advantage`. An LSTM
    is part of the torso in placement.

    Raises:
        UsageError: a type, layer width or place that the network cannot have.
    """
    outputs = ("value", "advantage") if spec.dueling else ("head",)
    recurrent = recurrent_layers(spec.lstm_units)
    layout = Layout({"torso": (*spec.torso_layers, *recurrent)}, {"head": outputs}, recurrent)
    placed = place(spec.placed_at, spec.norm, layout)
    torso = spec.build_torso(placed)
    features = spec.lstm_units or torso.num_features
    head = q_head(
        features, spec.num_actions, spec.norm, placed, dueling=spec.dueling, atoms=spec.atoms
    )
    if not spec.lstm_units:
        return QNetwork(torso, head)
    lstm = norm_at(LSTM, spec.norm, placed).lstm(torso.num_features, spec.lstm_units)
    return RecurrentQNetwork(torso, lstm, head)
