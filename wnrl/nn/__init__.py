"""Normalized layers, the catalogue of normalizations, networks and their initialization."""

from wnrl.nn.convert import convert_, export_gv, fold_, to_gv_, to_w_
from wnrl.nn.frozen import frozen_weights, shared_weights
from wnrl.nn.initialization import (
    InitReport,
    LayerReport,
    init_directions_,
    init_from_data_,
    init_orthogonal_,
    reset_parameters_,
)
from wnrl.nn.lstm import WNLSTM
from wnrl.nn.mean_only import MeanOnlyBatchNorm
from wnrl.nn.networks import (
    DuelingHead,
    MLPTorso,
    NatureTorso,
    QNetwork,
    build_q_network,
    build_torso,
)
from wnrl.nn.norms import NORMS, Norm, get_norm, register_norm, weight_normalization
from wnrl.nn.weight_norm import (
    WNConv2d,
    WNLinear,
    cap_vector_norms_,
    set_vector_norms_,
    weight_norm_groups,
)

__all__ = [
    "NORMS",
    "WNLSTM",
    "DuelingHead",
    "InitReport",
    "LayerReport",
    "MLPTorso",
    "MeanOnlyBatchNorm",
    "NatureTorso",
    "Norm",
    "QNetwork",
    "WNConv2d",
    "WNLinear",
    "build_q_network",
    "build_torso",
    "cap_vector_norms_",
    "convert_",
    "export_gv",
    "fold_",
    "frozen_weights",
    "get_norm",
    "init_directions_",
    "init_from_data_",
    "init_orthogonal_",
    "register_norm",
    "reset_parameters_",
    "set_vector_norms_",
    "shared_weights",
    "to_gv_",
    "to_w_",
    "weight_norm_groups",
    "weight_normalization",
]
