"""Layers made without values (meta device, to_empty) hold none of their own after a reset."""

from typing import Any

import pytest
import torch
from torch import nn

from wnrl.nn import (
    WNGRU,
    WNLSTM,
    BatchRenorm,
    ChannelLayerNorm,
    MeanOnlyBatchNorm,
    ProjectedConv2d,
    ProjectedLinear,
    SpectralConv2d,
    SpectralLinear,
    StandardizedConv2d,
    StandardizedLinear,
    WNConv1d,
    WNConv2d,
    WNConv3d,
    WNConvTranspose2d,
    WNEmbedding,
    WNLinear,
    WNLSTMCell,
)

LAYERS: list[tuple[Any, tuple[int, ...], dict[str, Any]]] = [
    (ProjectedLinear, (4, 3), {}),
    (ProjectedLinear, (4, 3), {"by_rows": False}),
    (ProjectedConv2d, (2, 3, 2), {"by_rows": False}),
    (SpectralLinear, (4, 3), {}),
    (SpectralConv2d, (2, 3, 2), {}),
    (StandardizedLinear, (4, 3), {}),
    (StandardizedConv2d, (2, 3, 2), {}),
    (WNLinear, (4, 3), {}),
    (WNLinear, (4, 3), {"storage": "w"}),
    (WNConv1d, (2, 3, 2), {}),
    (WNConv2d, (2, 3, 2), {}),
    (WNConv3d, (2, 3, 2), {}),
    (WNConvTranspose2d, (2, 3, 2), {}),
    (WNEmbedding, (4, 3, 1), {}),
    (WNEmbedding, (4, 3, 1), {"gain": "log"}),
    (WNEmbedding, (4, 3, 1), {"storage": "w"}),
    (WNLSTM, (4, 3), {}),
    (WNGRU, (4, 3), {}),
    (WNLSTMCell, (4, 3), {}),
    (BatchRenorm, (4,), {}),
    (MeanOnlyBatchNorm, (4,), {}),
    (ChannelLayerNorm, (4,), {}),
]


@pytest.mark.parametrize(("kind", "sizes", "options"), LAYERS)
def test_a_reset_remakes_all_that_a_new_layer_has(
    kind: Any, sizes: tuple[int, ...], options: dict[str, Any]
) -> None:
    with torch.device("meta"):
        layer: nn.Module = kind(*sizes, **options)
    assert all(tensor.is_meta for tensor in (*layer.parameters(), *layer.buffers()))
    layer.to_empty(device="cpu")
    for tensor in (*layer.parameters(), *layer.buffers()):
        tensor.data.fill_(float("nan") if tensor.is_floating_point() else 7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        layer.reset_parameters()
        torch.manual_seed(5)
        made: nn.Module = kind(*sizes, **options)
    state = layer.state_dict()
    assert state.keys() == made.state_dict().keys()
    for name, value in made.state_dict().items():
        torch.testing.assert_close(state[name], value, msg=name)


def test_a_matrix_is_held_at_the_norm_that_it_was_reset_to() -> None:
    layer = ProjectedLinear(4, 3, by_rows=False)
    layer.reset_parameters()
    torch.testing.assert_close(layer.radius, torch.linalg.vector_norm(layer.weight))
