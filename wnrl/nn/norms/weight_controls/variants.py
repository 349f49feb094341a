"""Records of the variants of weight normalization, each of which changes one thing in `weight`.

Two things happen in `weight`: length and direction of each unit's weights are learned separately
(reparameterization), and ||v|| grows, which makes later steps smaller relative to v (the decay of
the effective learning rate). `weight-fixed-v` has the first without the second; `weight-capped-v`
bounds the second; `weight-fixed-gain` learns directions only; `weight-log-gain` learns the length
in another unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wnrl._settings import setting
from wnrl._settings.later import Later
from wnrl.nn.norms.record import Norm, OptimizerFactory
from wnrl.nn.norms.weight import SALIMANS, weight_normalization

if TYPE_CHECKING:
    from torch import nn

    from wnrl.nn.weight_norm import layers, parametrization
    from wnrl.optim import step, wrapped_step
else:
    layers = Later("wnrl.nn.weight_norm.layers")
    parametrization = Later("wnrl.nn.weight_norm.parametrization")
    wrapped_step = Later("wnrl.optim.wrapped_step")

COST_OF_GV = "acting and learning: w from g and v, once per update where weights are frozen"


def log_gain() -> Norm:
    """Weight normalization with g = exp(s)."""
    return replace(
        weight_normalization("gv", gain="log"),
        name="weight-log-gain",
        summary="weight with g = exp(s) and s learned, so that a step changes a gain by a factor",
        paper=f"{SALIMANS}, section 2",
        cost=COST_OF_GV,
        storages=("gv",),
    )


def fixed_gain() -> Norm:
    """Weight normalization whose gains stay where they start."""
    return replace(
        weight_normalization("gv", gain="fixed"),
        name="weight-fixed-gain",
        summary="weight with fixed g: only the direction of each unit's weights is learned",
        paper=f"{SALIMANS}, with g held",
        cost=COST_OF_GV,
        storages=("gv",),
    )


def fixed_v() -> Norm:
    """Weight normalization whose ||v|| stay where they start."""
    return replace(
        weight_normalization(),
        name="weight-fixed-v",
        summary="weight with fixed ||v||: the effective learning rate does not decay",
        paper=f"{SALIMANS}, with ||v|| held",
        optimizer=_with_bound(0.0),
    )


@dataclass(frozen=True)
class CapSettings:
    """Settings of weight normalization with a cap on ||v||."""

    max_v_norm: float = setting(
        1.0,
        "largest ||v||; torch draws weights with ||v|| of about 0.58",
        source="ours",
        above=0,
    )


def capped_v(settings: CapSettings) -> Norm:
    """Weight normalization whose ||v|| stay below a cap."""
    return replace(
        weight_normalization(),
        name="weight-capped-v",
        summary="weight with ||v|| capped: the effective learning rate decays down to a bound",
        paper=f"{SALIMANS}, with a cap on ||v||",
        optimizer=_with_bound(settings.max_v_norm),
        settings=settings,
        configure=capped_v,
    )


def _with_bound(max_v_norm: float) -> OptimizerFactory:
    """Return the maker of an optimizer that bounds every ||v||; 0 holds it where it starts."""

    def optimizer(network: nn.Module, spec: step.OptimizerSpec) -> step.StepOptimizer:
        built = spec.build(layers.weight_norm_groups(network, max_v_norm=max_v_norm))
        vectors = [
            layer.gain_and_vector(name)[1]
            for layer, name in parametrization.computed_weights(network)
        ]  # of storage gv; with storage w the optimizer has the lengths
        return wrapped_step.BoundedVectors(built, vectors, max_v_norm) if vectors else built

    return optimizer
