"""What a normalization does to a network, read without changing it."""

import torch
from torch import Tensor, nn

from wnrl.nn.weight_norm import WNConv2d, WNLinear
from wnrl.stepping import StepOptimizer


@torch.no_grad()
def weight_vectors(module: nn.Module, optimizer: StepOptimizer) -> dict[str, tuple[Tensor, Tensor]]:
    """Gain g and length ||v|| of every weight-normalized layer, whichever storage it has.

    With storage "w" the optimizer holds ||v|| and the sign of g from its first step on; a layer
    that has not been stepped is left out.

    Args:
        module: the network.
        optimizer: the one that steps it.

    Returns:
        By layer name: g (O,) and ||v|| (O,).
    """
    states = optimizer.state if isinstance(optimizer, torch.optim.Optimizer) else {}
    vectors: dict[str, tuple[Tensor, Tensor]] = {}
    for name, layer in module.named_modules():
        if not isinstance(layer, WNLinear | WNConv2d):
            continue
        if layer.storage == "gv":
            norm = torch.linalg.vector_norm(layer.weight_v.flatten(1), dim=1)
            vectors[name] = (layer.weight_g.flatten().clone(), norm)
        elif state := states.get(layer.weight):
            gain = torch.linalg.vector_norm(layer.weight.flatten(1), dim=1)
            vectors[name] = (gain * state["sign"].flatten(), state["norm"].flatten().clone())
    return vectors
