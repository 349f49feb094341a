"""The public names of `wnrl.nn`, which takes them from here on first use."""

from wnrl.nn.networks.actor_critic import ActorCritic, assemble_actor_critic, build_actor_critic
from wnrl.nn.networks.architecture import Architecture, TorsoSettings
from wnrl.nn.networks.data_initialization import InitReport, LayerReport, init_from_data_
from wnrl.nn.networks.heads import DuelingHead, PolicyValue
from wnrl.nn.networks.initialization import (
    init_directions_,
    init_kaiming_normal_,
    init_orthogonal_,
    reset_parameters_,
)
from wnrl.nn.networks.minatar import MinAtarTorso
from wnrl.nn.networks.mlp import MLPTorso
from wnrl.nn.networks.nature import NatureTorso
from wnrl.nn.networks.q_network import QNetwork, assemble_q_network, build_q_network
from wnrl.nn.networks.recurrent import Recurrent, RecurrentActorCritic, RecurrentQNetwork
from wnrl.nn.networks.residual.impala import ImpalaTorso
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.networks.torso import Torso
from wnrl.nn.networks.torsos import NETWORKS, build_torso, register_network
from wnrl.nn.norms.catalogue import NORMS, get_norm, register_norm
from wnrl.nn.norms.convert import convert_, fold_
from wnrl.nn.norms.layers.batch_renorm import BatchRenorm, RenormLimits
from wnrl.nn.norms.layers.channel_norm import ChannelLayerNorm
from wnrl.nn.norms.layers.features import Simplicial, UnitLength
from wnrl.nn.norms.layers.mean_only import MeanOnlyBatchNorm
from wnrl.nn.norms.layers.pointwise import DynamicErf, DynamicTanh
from wnrl.nn.norms.layers.projection import ProjectedConv2d, ProjectedLinear, hold_norms_, project_
from wnrl.nn.norms.layers.running_norm import RunningNorm
from wnrl.nn.norms.layers.spectral import SpectralConv2d, SpectralLinear, settle_spectral_
from wnrl.nn.norms.layers.standardization import StandardizedConv2d, StandardizedLinear
from wnrl.nn.norms.placement import Layout, place
from wnrl.nn.norms.record import Norm
from wnrl.nn.norms.transition_values import (
    joint_batch,
    mixed_batches,
    own_batches,
    separate_batches,
)
from wnrl.nn.norms.weight import weight_normalization
from wnrl.nn.weight_norm.cached_weights import frozen_weights, shared_weights
from wnrl.nn.weight_norm.cells import WNGRUCell, WNLSTMCell
from wnrl.nn.weight_norm.embedding import WNEmbedding
from wnrl.nn.weight_norm.gru import WNGRU
from wnrl.nn.weight_norm.layers import (
    WNConv1d,
    WNConv2d,
    WNConv3d,
    WNConvTranspose1d,
    WNConvTranspose2d,
    WNConvTranspose3d,
    WNLinear,
    cap_vector_norms_,
    set_vector_norms_,
    weight_norm_groups,
)
from wnrl.nn.weight_norm.lstm import WNLSTM
from wnrl.nn.weight_norm.storages import export_gv, to_gv_, to_w_

__all__ = [
    "NETWORKS",
    "NORMS",
    "WNGRU",
    "WNLSTM",
    "ActorCritic",
    "Architecture",
    "BatchRenorm",
    "ChannelLayerNorm",
    "DuelingHead",
    "DynamicErf",
    "DynamicTanh",
    "ImpalaTorso",
    "InitReport",
    "LayerReport",
    "Layout",
    "MLPTorso",
    "MeanOnlyBatchNorm",
    "MinAtarTorso",
    "NatureTorso",
    "NetworkSpec",
    "Norm",
    "PolicyValue",
    "ProjectedConv2d",
    "ProjectedLinear",
    "QNetwork",
    "Recurrent",
    "RecurrentActorCritic",
    "RecurrentQNetwork",
    "RenormLimits",
    "RunningNorm",
    "Simplicial",
    "SpectralConv2d",
    "SpectralLinear",
    "StandardizedConv2d",
    "StandardizedLinear",
    "Torso",
    "TorsoSettings",
    "UnitLength",
    "WNConv1d",
    "WNConv2d",
    "WNConv3d",
    "WNConvTranspose1d",
    "WNConvTranspose2d",
    "WNConvTranspose3d",
    "WNEmbedding",
    "WNGRUCell",
    "WNLSTMCell",
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
    "mixed_batches",
    "own_batches",
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
