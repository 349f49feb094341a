"""Records of the normalizations of the features that the head reads.

They are placed on the last hidden layer unless a person says otherwise. Not here: their layers
(`wnrl.nn.norms.layers.features`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wnrl._settings import SettingError, setting
from wnrl._settings.later import Later
from wnrl.nn.norms.record import AFTER_ACTIVATION, SAMPLE, Norm

if TYPE_CHECKING:
    from torch import nn

    from wnrl.nn.norms.layers import features
else:
    features = Later("wnrl.nn.norms.layers.features")

FEATURES_ONLY = "acting and learning: one pass over the features"


@dataclass(frozen=True)
class UnitLengthSettings:
    """Settings of features of unit length."""

    eps: float = setting(
        1e-12,
        "lower bound of the features' length",
        source="torch.nn.functional.normalize",
        above=0,
        maximum=1,
    )


def unit_features(settings: UnitLengthSettings) -> Norm:
    """Features of unit length."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        return features.UnitLength(settings.eps)

    return Norm(
        name="penultimate-l2",
        summary="the last hidden layer's activations divided by their length, phi / ||phi||",
        paper="Hussing et al. 2024, arXiv 2403.05996",
        cost=FEATURES_ONLY,
        normalizes=SAMPLE,
        activation=activation,
        where="penultimate",
        after=AFTER_ACTIVATION,
        settings=settings,
        configure=unit_features,
    )


@dataclass(frozen=True)
class SimplicialSettings:
    """Settings of simplicial embeddings."""

    simplex_units: int = setting(
        8,
        "units of each simplex; must divide the units of the layer",
        source="TD-MPC2's SimNorm; the papers tune it",
        minimum=2,
    )
    temperature: float = setting(
        1.0, "temperature of the softmax", source="TD-MPC2's SimNorm; the papers tune it", above=0
    )


def simplicial_embedding(settings: SimplicialSettings) -> Norm:
    """Simplicial embeddings. A ReLU after them changes nothing, because no value is below 0."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        if shape[0] % settings.simplex_units:
            raise SettingError(
                "norm.simplex_units",
                f"{settings.simplex_units} does not divide a layer of {shape[0]} units; it must "
                "divide the units of every layer that is normalized",
            )
        return features.Simplicial(settings.simplex_units, settings.temperature)

    return Norm(
        name="simplicial",
        summary="simplicial embeddings: a softmax over each group of the last hidden layer's units",
        paper="Lavoie et al. 2022, arXiv 2204.00616; Obando-Ceron et al. 2025, 2510.13704",
        cost=FEATURES_ONLY,
        normalizes=SAMPLE,
        activation=activation,
        where="penultimate",
        settings=settings,
        configure=simplicial_embedding,
    )
