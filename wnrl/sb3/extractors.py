"""Features extractors with a normalization, for stock policies and for those of `wnrl.sb3`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.nature import SMALLEST
from wnrl.nn.networks.residual.impala import FEATURES, ImpalaTorso
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.networks.torso import checked_dtype
from wnrl.nn.norms.catalogue import NONE
from wnrl.nn.norms.placement import Layout, place
from wnrl.nn.norms.record import AFTER_LAYER, build_optimizer, leave_alone
from wnrl.nn.weight_norm.layers import weight_norm_groups
from wnrl.sb3.builder import check_extractor_steps
from wnrl.sb3.layer_names import plain_layers
from wnrl.sb3.norm_arguments import find_norm, policy_arguments
from wnrl.sb3.normalize import normalize_, to_memory_format_
from wnrl.sb3.observation_check import check_image
from wnrl.sb3.optimizers import mark_weights_


def _normalize_(
    extractor: BaseFeaturesExtractor, norm: str, where: str, settings: Mapping[str, Any] | None
) -> None:
    """Normalize an extractor that a policy will initialize, step and copy."""
    record = find_norm(norm, settings or {})
    own_steps = record.after_step is not leave_alone or record.optimizer is not build_optimizer
    if own_steps or record.initialize is not leave_alone or record.penalty is not None:
        raise UsageError(
            f"norm {norm!r} acts after initialization or in each step, which a features "
            "extractor cannot do: use a policy of wnrl.sb3, such as WNActorCriticCnnPolicy"
        )
    shape = extractor._observation_space.shape
    assert shape is not None
    with policy_arguments():
        placed = place(
            where or record.where, record, Layout({"torso": plain_layers(extractor)}, {})
        )
        normalize_(extractor, record, placed, lambda: extractor(torch.zeros(1, *shape)))
    if any(group["weight_norm"] for group in weight_norm_groups(extractor)):
        check_extractor_steps(type(extractor), record)
    mark_weights_(extractor)


class WNNatureCNN(NatureCNN):
    """Stable-Baselines3's `NatureCNN` with a normalization: (B, C, H, W) -> (B, features_dim).

    Args:
        observation_space: space of images (C, H, W).
        features_dim: units of the last layer.
        normalized_image: whether images are floats already.
        norm: name of a normalization. Policies of `wnrl.sb3` take it themselves instead.
        norm_where: layers to normalize: torso for all, or names (cnn.0, cnn.2, cnn.4, linear.0);
            empty for the normalization's own place.
        norm_settings: parameters of the normalization by name.

    Raises:
        UsageError: other observations, or a normalization that needs a policy of `wnrl.sb3`.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        features_dim: int = 512,
        normalized_image: bool = False,
        *,
        norm: str = "weight",
        norm_where: str = "",
        norm_settings: Mapping[str, Any] | None = None,
    ) -> None:
        check_image(
            type(self).__name__, observation_space, scaled=normalized_image, smallest=SMALLEST
        )
        super().__init__(observation_space, features_dim, normalized_image)
        _normalize_(self, norm, norm_where, norm_settings)


class WNImpalaCNN(BaseFeaturesExtractor):
    """IMPALA's residual network with a normalization: (B, C, H, W) -> (B, 256).

    Args:
        observation_space: space of images (C, H, W) of any size.
        width: factor of the convolutions' channels.
        normalized_image: whether images are floats already.
        norm: as in `WNNatureCNN`.
        norm_where: as there, with names such as torso.layers.section1.conv.
        norm_settings: parameters of the normalization by name.

    Raises:
        UsageError: as in `WNNatureCNN`.

    Source: Espeholt et al. 2018, arXiv 1802.01561, figure 3.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        width: int = 1,
        normalized_image: bool = False,
        *,
        norm: str = "weight",
        norm_where: str = "",
        norm_settings: Mapping[str, Any] | None = None,
    ) -> None:
        check_image(type(self).__name__, observation_space, scaled=normalized_image)
        super().__init__(observation_space, FEATURES)
        channels, height, pixels = observation_space.shape
        self.torso = ImpalaTorso((channels, height, pixels), "float32", NONE, width=width)
        # The policy's orthogonal initialization writes only contiguous weights.
        to_memory_format_(self.torso, torch.contiguous_format)
        _normalize_(self, norm, norm_where, norm_settings)

    def forward(self, observations: Tensor) -> Tensor:
        """Preprocessed images (B, C, H, W) float32 -> (B, 256)."""
        features: Tensor = self.torso(observations)
        return features


@dataclasses.dataclass(frozen=True)
class TorsoDescription:
    """A torso of an agent of `wnrl` after `wnrl.nn.fold_`, in plain values."""

    network: str  # architecture, one of `wnrl.nn.NETWORKS`
    dtype: str  # of observations: "uint8", which the torso divides by 255, or "float32"
    hidden: tuple[int, ...] = ()  # units of an MLP's layers
    width: int = 1  # multiplies channels in architectures that take it
    norm: str = "none"  # a normalization of activations
    norm_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    norm_after: str = AFTER_LAYER  # where its layers are
    norm_layers: tuple[str, ...] = ()  # names of the layers that it follows
    norm_input: str = "none"  # normalization of observations


class WNTorso(BaseFeaturesExtractor):
    """The torso of an agent of `wnrl`, for stock policies: (B, *shape) -> (B, F).

    `wnrl.export` writes policies with it. Weights are plain, and a normalization of activations
    stays. The torso scales observations itself, so the policy needs `normalize_images=False`.

    Args:
        observation_space: space of what the torso takes, in its own layout.
        description: the torso.
    """

    def __init__(self, observation_space: spaces.Box, description: TorsoDescription) -> None:
        norm = dataclasses.replace(
            find_norm(description.norm, description.norm_settings),
            after=description.norm_after,
            linear=nn.Linear,
            conv=nn.Conv2d,
        )
        spec = NetworkSpec(
            observation_space.shape,
            description.dtype,
            1,  # the heads are the policy's
            norm,
            torso=description.network,
            hidden=description.hidden,
            width=description.width,
            norm_input=description.norm_input,
        )
        torso = spec.build_torso(description.norm_layers)
        super().__init__(observation_space, torso.num_features)
        self.torso = torso
        self._dtype = checked_dtype(description.dtype)

    def forward(self, observations: Tensor) -> Tensor:
        """Observations (B, *shape) as floats, not scaled -> (B, F)."""
        features: Tensor = self.torso(observations.to(self._dtype))
        return features


OWN_EXTRACTORS: tuple[type[nn.Module], ...] = (WNNatureCNN, WNImpalaCNN)
