"""Normalized layers, the catalogue of normalizations, networks and their initialization."""

from wnrl.nn.initialization import InitReport, LayerReport, init_from_data_, reset_parameters_
from wnrl.nn.networks import (
    DuelingHead,
    MLPTorso,
    NatureTorso,
    QNetwork,
    build_q_network,
    build_torso,
)
from wnrl.nn.norms import NORMS, Norm, get_norm, register_norm, weight_normalization
from wnrl.nn.weight_norm import WNConv2d, WNLinear, weight_norm_groups

__all__ = [
    "NORMS",
    "DuelingHead",
    "InitReport",
    "LayerReport",
    "MLPTorso",
    "NatureTorso",
    "Norm",
    "QNetwork",
    "WNConv2d",
    "WNLinear",
    "build_q_network",
    "build_torso",
    "get_norm",
    "init_from_data_",
    "register_norm",
    "reset_parameters_",
    "weight_norm_groups",
    "weight_normalization",
]
