"""Record of L0 gates, which make weights exactly 0."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from wnrl._settings import setting
from wnrl._settings.later import Later
from wnrl.nn.norms.record import WEIGHTS, Norm

if TYPE_CHECKING:
    from torch import Tensor, nn

    from wnrl.nn.norms.layers import gates
else:
    gates = Later("wnrl.nn.norms.layers.gates")


@dataclass(frozen=True)
class L0Settings:
    """Settings of L0 gates; the loss is that of the agent plus penalty / samples x expected L0."""

    penalty: float = setting(
        0.1, "lambda, price of a weight that is not 0", source="Louizos et al. 2018", minimum=0
    )
    samples: int = setting(
        1_000_000,
        "N, samples over which the price is spread",
        source="ours: transitions in the replay of Mnih et al. 2015; the paper's N is its data set",
        minimum=1,
    )
    drop_rate: float = setting(
        0.5,
        "probability at the start that a gate is nearer to closed than to open",
        source="AMLab-Amsterdam/L0_regularization",
        above=0,
        maximum=0.99,
    )


def l0_gates(settings: L0Settings) -> Norm:
    """L0 gates per unit."""

    def penalty(network: nn.Module) -> Tensor:
        return gates.expected_l0(network) * (settings.penalty / settings.samples)

    return Norm(
        name="l0",
        summary="a random gate per unit, often exactly 0, and a price on open gates: the network "
        "becomes smaller",
        paper="Louizos, Welling & Kingma 2018, arXiv 1712.01312",
        cost="acting: one product per weight or output, none after `fold_`; learning: also a "
        "random number per unit",
        normalizes=WEIGHTS,
        linear=partial(gates.GatedLinear, drop_rate=settings.drop_rate),
        conv=partial(gates.GatedConv2d, drop_rate=settings.drop_rate),
        after_step=gates.bound_gates_,
        penalty=penalty,
        settings=settings,
        configure=l0_gates,
    )
