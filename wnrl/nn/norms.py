"""The catalogue of normalizations: one frozen record each, in one table.

A record says how a network's hidden layers are made, what stands between a layer and its
nonlinearity, which optimizer steps it and what happens after a step. Agents and networks know
records, never names. Output heads are plain layers in every record.

The shape key of pre-activations: (C, H, W) of a convolution, (F,) of a linear layer.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from wnrl.errors import UsageError, nearest
from wnrl.nn.mean_only import MeanOnlyBatchNorm
from wnrl.nn.weight_norm import WNConv2d, WNLinear, cap_vector_norms_, weight_norm_groups
from wnrl.stepping import OptimizerSpec, StepOptimizer

LinearFactory = Callable[[int, int], nn.Module]  # (I, O)
ConvFactory = Callable[[int, int, int, int], nn.Module]  # (I, O, kernel size, stride)
ActivationFactory = Callable[[tuple[int, ...]], nn.Module | None]  # pre-activation shape
OptimizerFactory = Callable[[nn.Module, OptimizerSpec], StepOptimizer]
AfterStep = Callable[[nn.Module], None]


def no_activation_norm(shape: tuple[int, ...]) -> nn.Module | None:
    """Nothing between a layer and its nonlinearity."""
    return None


def build_optimizer(network: nn.Module, spec: OptimizerSpec) -> StepOptimizer:
    """The spec's weight-normalizing form if the network has marked weights, else torch's own."""
    return spec.build(weight_norm_groups(network))


def nothing_after_step(network: nn.Module) -> None:
    """Leave the network as the optimizer left it."""


@dataclass(frozen=True)
class Norm:
    """One normalization. Whoever takes a step calls `after_step(network)` after it.

    A network with batch statistics is told by `train()` and `eval()` which ones to use; nothing
    else about a record concerns an agent.
    """

    name: str
    summary: str  # one sentence
    paper: str
    cost: str  # against no normalization, acting and learning
    linear: LinearFactory = nn.Linear  # hidden linear layers
    conv: ConvFactory = nn.Conv2d  # convolutions
    activation: ActivationFactory = no_activation_norm  # before the nonlinearity; None for nothing
    optimizer: OptimizerFactory = build_optimizer
    after_step: AfterStep = nothing_after_step
    smallest_batch: int = 1  # samples that an update needs
    weight_vectors: bool = False  # its layers take `storage`, as `WNLinear` does

    def in_storage(self, storage: str) -> "Norm":
        """The same normalization with its weight vectors in that storage; itself if it has none."""
        if not self.weight_vectors:
            return self
        linear: Callable[..., nn.Module] = self.linear
        conv: Callable[..., nn.Module] = self.conv
        return replace(
            self, linear=partial(linear, storage=storage), conv=partial(conv, storage=storage)
        )


def weight_normalization(
    storage: str = "w", *, gain: str = "linear", max_v_norm: float | None = None
) -> Norm:
    """Weight normalization with layers in the storage given.

    "w" (the catalogue's): plain weights, normalized by the optimizer's step. "gv": gains and
    weight vectors are the Parameters, stepped by torch's own optimizer; the same trajectory, for
    research on g and v. `gain` and `max_v_norm` are those of `WNLinear`, for "gv"; the cap is kept
    by `after_step`.
    """
    options: dict[str, Any] = {"storage": storage, "gain": gain, "max_v_norm": max_v_norm}
    return Norm(
        name="weight",
        summary="w = g v / ||v||: direction and length of each unit's weights learn apart",
        paper="Salimans & Kingma 2016, arXiv 1602.07868",
        cost="acting: none; learning: row norms once per update",
        linear=partial(WNLinear, **options),
        conv=partial(WNConv2d, **options),
        after_step=nothing_after_step if max_v_norm is None else cap_vector_norms_,
        weight_vectors=True,
    )


def _mean_only(shape: tuple[int, ...]) -> nn.Module:
    return MeanOnlyBatchNorm(shape[0])  # momentum 0.1, as batch norm's


def _batch_norm(shape: tuple[int, ...]) -> nn.Module:
    # torch's defaults: eps 1e-5, momentum 0.1. The layer before keeps its bias, which batch norm
    # makes redundant, so that every normalization initializes the same parameters.
    return nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])


def _layer_norm(shape: tuple[int, ...]) -> nn.Module:
    return nn.LayerNorm(shape)  # torch's default eps 1e-5, one scale and shift per element


NORMS: dict[str, Norm] = {}


def register_norm(norm: Norm) -> Norm:
    """Add a normalization of one's own to the catalogue.

    Raises:
        UsageError: if the name is taken or empty.
    """
    if not norm.name or norm.name in NORMS:
        raise UsageError(f"normalization {norm.name!r} is taken or empty: choose another name")
    NORMS[norm.name] = norm
    return norm


def get_norm(name: str) -> Norm:
    """The normalization of that name.

    Raises:
        UsageError: if there is none, with the nearest names.
    """
    if name not in NORMS:
        raise UsageError(
            f"unknown normalization {name!r}: allowed are {', '.join(NORMS)}" + nearest(name, NORMS)
        )
    return NORMS[name]


register_norm(
    Norm(
        name="none",
        summary="no normalization",
        paper="Mnih et al. 2015, Nature 518",
        cost="none",
    )
)
register_norm(weight_normalization())
register_norm(
    replace(
        weight_normalization(),
        name="weight-mean",
        summary="w = g v / ||v||, and each unit to zero mean over the batch",
        paper="Salimans & Kingma 2016, arXiv 1602.07868, section 4",
        cost="acting: one addition; learning: row norms, and one pass over the activations",
        activation=_mean_only,
        smallest_batch=2,
    )
)
register_norm(
    Norm(
        name="mean",
        summary="each unit to zero mean over the batch, its scale left alone",
        paper="Salimans & Kingma 2016, arXiv 1602.07868, section 4",
        cost="acting: one addition; learning: one pass over the activations of each layer",
        activation=_mean_only,
        smallest_batch=2,
    )
)
register_norm(
    Norm(
        name="batch",
        summary="each unit to zero mean and unit variance over the batch; running ones in eval()",
        paper="Ioffe & Szegedy 2015, arXiv 1502.03167",
        cost="acting and learning: one pass over the activations of each layer",
        activation=_batch_norm,
        smallest_batch=2,
    )
)
register_norm(
    Norm(
        name="layer",
        summary="each sample's whole map to zero mean and unit variance, as CleanRL's PQN",
        paper="Ba et al. 2016, arXiv 1607.06450; Gallici et al. 2024, arXiv 2407.04811",
        cost="acting and learning: one pass over the activations of each layer",
        activation=_layer_norm,
    )
)
