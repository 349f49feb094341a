"""Normalized layers, the catalogue of normalizations, networks and their initialization."""

from wnrl.nn.actor_critic import ActorCritic, assemble_actor_critic, build_actor_critic
from wnrl.nn.batch_renorm import BatchRenorm
from wnrl.nn.channel_norm import ChannelLayerNorm
from wnrl.nn.convert import convert_, fold_
from wnrl.nn.frozen import frozen_weights, shared_weights
from wnrl.nn.heads import DuelingHead, PolicyValue
from wnrl.nn.impala import ImpalaTorso
from wnrl.nn.initialization import (
    InitReport,
    LayerReport,
    init_directions_,
    init_from_data_,
    init_kaiming_normal_,
    init_orthogonal_,
    reset_parameters_,
)
from wnrl.nn.lstm import WNLSTM
from wnrl.nn.mean_only import MeanOnlyBatchNorm
from wnrl.nn.mlp import MLPTorso
from wnrl.nn.nature import NatureTorso
from wnrl.nn.networks import QNetwork, assemble_q_network, build_q_network
from wnrl.nn.norm import Norm
from wnrl.nn.norms import NORMS, get_norm, register_norm
from wnrl.nn.norms_weight import weight_normalization
from wnrl.nn.placement import Layout, place
from wnrl.nn.projection import ProjectedConv2d, ProjectedLinear, hold_norms_, project_
from wnrl.nn.recurrent import Recurrent, RecurrentActorCritic, RecurrentQNetwork
from wnrl.nn.spectral import SpectralConv2d, SpectralLinear, settle_spectral_
from wnrl.nn.standardization import StandardizedConv2d, StandardizedLinear
from wnrl.nn.storages import export_gv, to_gv_, to_w_
from wnrl.nn.torso import Architecture, Torso, TorsoSettings
from wnrl.nn.torsos import NETWORKS, build_torso, register_network
from wnrl.nn.values import joint_batch, separate_batches
from wnrl.nn.weight_norm import (
    WNConv2d,
    WNLinear,
    cap_vector_norms_,
    set_vector_norms_,
    weight_norm_groups,
)

__all__ = [
    "NETWORKS",
    "NORMS",
    "WNLSTM",
    "ActorCritic",
    "Architecture",
    "BatchRenorm",
    "ChannelLayerNorm",
    "DuelingHead",
    "ImpalaTorso",
    "InitReport",
    "LayerReport",
    "Layout",
    "MLPTorso",
    "MeanOnlyBatchNorm",
    "NatureTorso",
    "Norm",
    "PolicyValue",
    "ProjectedConv2d",
    "ProjectedLinear",
    "QNetwork",
    "Recurrent",
    "RecurrentActorCritic",
    "RecurrentQNetwork",
    "SpectralConv2d",
    "SpectralLinear",
    "StandardizedConv2d",
    "StandardizedLinear",
    "Torso",
    "TorsoSettings",
    "WNConv2d",
    "WNLinear",
    "assemble_actor_critic",
    "assemble_q_network",
    "build_actor_critic",
    "build_q_network",
    "build_torso",
    "cap_vector_norms_",
    "convert_",
    "export_gv",
    "fold_",
    "frozen_weights",
    "get_norm",
    "hold_norms_",
    "init_directions_",
    "init_from_data_",
    "init_kaiming_normal_",
    "init_orthogonal_",
    "joint_batch",
    "place",
    "project_",
    "register_network",
    "register_norm",
    "reset_parameters_",
    "separate_batches",
    "set_vector_norms_",
    "settle_spectral_",
    "shared_weights",
    "to_gv_",
    "to_w_",
    "weight_norm_groups",
    "weight_normalization",
]
