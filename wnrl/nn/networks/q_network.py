"""Networks of action values: a torso that turns observations into features, and a head.

Layers and what normalizes them come from a `Norm` where it is placed, and are plain elsewhere.
Every layer has a name, by which it is placed and found: `torso.layers.conv1`, `torso.layers.fc`.

Not here: the torsos themselves (`wnrl.nn.networks.torsos`), policies
(`wnrl.nn.networks.actor_critic`).

Dimension key: B batch, A actions, F features.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.heads import DuelingHead
from wnrl.nn.networks.initialization import owned_global_randomness, reset_parameters_
from wnrl.nn.networks.recurrent import LSTM, RecurrentQNetwork, recurrent_layers
from wnrl.nn.networks.torso import DEFAULT_HIDDEN, Torso
from wnrl.nn.networks.torsos import AUTO, build_torso, torso_layers
from wnrl.nn.norms.placement import Layout, norm_at, place
from wnrl.nn.norms.record import Norm

Made = TypeVar("Made", bound=nn.Module)
Initialize = Callable[[nn.Module, torch.Generator], None]  # draws all weights of a network


class QNetwork(nn.Module):
    """Action values: a torso and a head. (B, *shape) -> (B, A)."""

    def __init__(self, torso: Torso, head: nn.Module) -> None:
        super().__init__()
        self.torso = torso
        self.head = head

    def forward(self, obs: Tensor) -> Tensor:
        """(B, *shape) -> (B, A)."""
        q: Tensor = self.head(self.torso(obs))
        return q


def initialized(
    assemble: Callable[[], Made],
    norm: Norm,
    generator: torch.Generator,
    initialize: Initialize,
) -> Made:
    """The network that `assemble` makes, with every weight drawn from `generator` alone.

    Args:
        assemble: makes it as torch does, from the global generator, which is left as it was.
        norm: its normalization, which has the last word.
        generator: a CPU generator.
        initialize: draws the weights.
    """
    with owned_global_randomness(generator):
        made = assemble()
    initialize(made, generator)
    norm.initialize(made)
    return made


def build_q_network(
    shape: tuple[int, ...],
    dtype: str,
    num_actions: int,
    *,
    norm: Norm,
    where: str = "torso",
    hidden: Sequence[int] = DEFAULT_HIDDEN,
    network: str = AUTO,
    width: int = 1,
    dueling: bool = False,
    lstm_units: int = 0,
    generator: torch.Generator,
    initialize: Initialize = reset_parameters_,
) -> QNetwork | RecurrentQNetwork:
    """A Q network for an observation, initialized from `generator` alone.

    Args:
        shape: as in `assemble_q_network`.
        dtype: as there.
        num_actions: A.
        norm: as there.
        where: as there.
        hidden: as there.
        network: as there.
        width: as there.
        dueling: as there.
        lstm_units: as there.
        generator: a CPU generator. The global one is left as it was.
        initialize: draws the weights; torch's distributions by default.

    Raises:
        UsageError: on a type, layer width, place or number of actions that cannot be.
    """

    def assemble() -> QNetwork | RecurrentQNetwork:
        return assemble_q_network(
            shape,
            dtype,
            num_actions,
            norm=norm,
            where=where,
            hidden=hidden,
            network=network,
            width=width,
            dueling=dueling,
            lstm_units=lstm_units,
        )

    return initialized(assemble, norm, generator, initialize)


def assemble_q_network(
    shape: tuple[int, ...],
    dtype: str,
    num_actions: int,
    *,
    norm: Norm,
    where: str = "torso",
    hidden: Sequence[int] = DEFAULT_HIDDEN,
    network: str = AUTO,
    width: int = 1,
    dueling: bool = False,
    lstm_units: int = 0,
) -> QNetwork | RecurrentQNetwork:
    """A Q network for an observation, as torch initializes it, from the global generator.

    Args:
        shape: of one observation.
        dtype: "uint8" or "float32", as in `ObservationSpec`.
        num_actions: A.
        norm: of the layers that `where` names.
        where: words and names of `wnrl.nn.norms.placement.place`: torso, head, penultimate, all, a
            layer's name. An LSTM counts to the torso. The head's layer is `head`, of a dueling one
            `value` and `advantage`.
        hidden: units of an MLP's layers.
        network: the architecture of the torso, as in `build_torso`.
        width: multiplies its channels, where it takes that.
        dueling: use `DuelingHead` instead of one linear layer.
        lstm_units: of an LSTM between torso and head, whose layer is `lstm`; 0 for none.

    Raises:
        UsageError: on a type, layer width, place or number of actions that cannot be.
    """
    check_actions(num_actions)
    outputs = ("value", "advantage") if dueling else ("head",)
    names = torso_layers(shape, dtype, network=network, hidden=hidden, width=width)
    recurrent = recurrent_layers(lstm_units)
    layout = Layout({"torso": (*names, *recurrent)}, {"head": outputs}, recurrent)
    placed = place(where, norm, layout)
    torso = build_torso(
        shape, dtype, norm=norm, network=network, hidden=hidden, width=width, placed=placed
    )
    features = lstm_units or torso.num_features
    head: nn.Module
    if dueling:
        head = DuelingHead(features, num_actions, norm, placed)
    else:
        head = norm_at("head", norm, placed).linear(features, num_actions)
    if not lstm_units:
        return QNetwork(torso, head)
    lstm = norm_at(LSTM, norm, placed).lstm(torso.num_features, lstm_units)
    return RecurrentQNetwork(torso, lstm, head)


def check_actions(num_actions: int) -> None:
    """UsageError unless there is one or more."""
    if num_actions < 1:
        raise UsageError(f"num_actions is {num_actions}: it must be at least 1")
