"""The weights as safetensors: those of the folded network, and gains and weight vectors.

Dimension key: O output units of a layer.
"""

from collections.abc import Mapping

from torch import Tensor

from wnrl._settings import UsageError
from wnrl.export.trained_run import TrainedRun

PLAIN, VECTORS = "weights.safetensors", "weights_gv.safetensors"


def weight_files(run: TrainedRun) -> dict[str, bytes]:
    """Return by name the file of the folded weights, and that of (g, v) if there are any.

    Keys are those of the network's `state_dict`; g (O, 1, ...) and v have the weight's name with
    `_g` and `_v`. Both load with `load_state_dict`, the second into weight-normalized layers.

    Raises:
        UsageError: the package safetensors is missing, or the checkpoint's state cannot be read.
    """
    files = {PLAIN: _saved(run.folded().state_dict(), {**run.facts, "form": "folded"})}
    if vectors := run.gains_and_vectors():
        files[VECTORS] = _saved(vectors, {**run.facts, "form": "g and v"})
    return files


def _saved(state: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    try:
        from safetensors.torch import save
    except ModuleNotFoundError:
        raise UsageError(
            "format safetensors needs the package safetensors: pip install 'wnrl[export]'"
        ) from None
    # A file of safetensors holds no tensor twice, and none in another layout.
    alone = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    content: bytes = save(alone, metadata)
    return content
