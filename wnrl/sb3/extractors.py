"""Features extractors with a normalization, for stock policies and for ours."""

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.impala import FEATURES, ImpalaTorso
from wnrl.nn.networks.nature import SMALLEST
from wnrl.nn.norms.catalogue import NONE
from wnrl.nn.norms.placement import Layout, place
from wnrl.nn.norms.record import build_optimizer, leave_alone
from wnrl.sb3.layer_names import plain_layers
from wnrl.sb3.norm_arguments import find_norm, flags_as_arguments
from wnrl.sb3.normalize import normalize_
from wnrl.sb3.observation_check import check_image
from wnrl.sb3.optimizers import mark_weights_


def _normalize_(
    extractor: BaseFeaturesExtractor, norm: str, where: str, settings: Mapping[str, Any] | None
) -> None:
    """Normalize an extractor that a stock policy will initialize, step and copy."""
    record = find_norm(norm, settings or {})
    own_steps = record.after_step is not leave_alone or record.optimizer is not build_optimizer
    if own_steps or record.initialize is not leave_alone:
        raise UsageError(
            f"norm {norm!r} acts after initialization or after each step, of which a features "
            "extractor is not told: take one of wnrl.sb3's policies, as WNActorCriticCnnPolicy"
        )
    shape = extractor._observation_space.shape
    assert shape is not None
    with flags_as_arguments():
        placed = place(where, record, Layout({"torso": plain_layers(extractor)}, {}))
        normalize_(extractor, record, placed, lambda: extractor(torch.zeros(1, *shape)))
    mark_weights_(extractor)


class WNNatureCNN(NatureCNN):
    """Stable-Baselines3's `NatureCNN` with a normalization: (B, C, H, W) -> (B, features_dim).

    Args:
        observation_space: of images (C, H, W).
        features_dim: of the last layer.
        normalized_image: as in `NatureCNN`.
        norm: name of a normalization; not inside one of `wnrl.sb3`'s policies, which has its own.
        norm_where: which layers: torso for all, or names, cnn.0, cnn.2, cnn.4 and linear.0.
        norm_settings: its parameters by name.

    Raises:
        UsageError: on other observations, and a normalization that needs one of our policies.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        features_dim: int = 512,
        normalized_image: bool = False,
        *,
        norm: str = "weight",
        norm_where: str = "torso",
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
        observation_space: of images (C, H, W) of any size.
        width: multiplies the channels of the convolutions.
        normalized_image: images are floats already.
        norm: as in `WNNatureCNN`.
        norm_where: which layers: torso for all, or names, torso.layers.section1.conv, ...
        norm_settings: its parameters by name.

    Raises:
        UsageError: as `WNNatureCNN`.

    Source: Espeholt et al. 2018, arXiv 1802.01561, figure 3.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        width: int = 1,
        normalized_image: bool = False,
        *,
        norm: str = "weight",
        norm_where: str = "torso",
        norm_settings: Mapping[str, Any] | None = None,
    ) -> None:
        check_image(type(self).__name__, observation_space, scaled=normalized_image)
        super().__init__(observation_space, FEATURES)
        channels, height, pixels = observation_space.shape
        self.torso = ImpalaTorso((channels, height, pixels), "float32", NONE, width=width)
        # The policy's orthogonal initialization writes contiguous weights alone.
        self.torso.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # no stub
        _normalize_(self, norm, norm_where, norm_settings)

    def forward(self, observations: Tensor) -> Tensor:
        """Preprocessed images (B, C, H, W) float32 -> (B, 256)."""
        features: Tensor = self.torso(observations)
        return features


OWN_EXTRACTORS: tuple[type[nn.Module], ...] = (WNNatureCNN, WNImpalaCNN)
