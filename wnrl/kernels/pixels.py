"""Images as the numbers that a convolution takes: scaled, float32 and channels_last.

Dimension key: B images, C channels, H height, W width, P = H W pixels.
"""

from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from wnrl.kernels.backend import use_numba
from wnrl.kernels.compiled import compiled, in_threads

STACK = 4  # channels of Atari's observations, for which one pass is compiled
LEAST_BYTES = 1_000_000  # of a thread: below, waking another one takes longer than the work


def scaled(pixels: Tensor) -> Tensor:
    """Return pixels / 255 in float32 and channels_last: the same to the last bit on every device.

    Args:
        pixels: (B, C, H, W) uint8, or float32 that is scaled already.
    """
    if pixels.dtype == torch.float32:
        return pixels.contiguous(memory_format=torch.channels_last)
    if _one_pass(pixels):
        return _scaled_in_one_pass(pixels)
    # First the layout of bytes, then their type: faster than one call that does both.
    bytes_last = torch.stack(pixels.unbind(1), dim=-1).permute(0, 3, 1, 2)  # channels_last
    return bytes_last.to(torch.float32).div_(255)  # keeps the layout


def _one_pass(pixels: Tensor) -> bool:
    """Return whether the compiled pass can read these images."""
    return (
        not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and torch._C._len_torch_dispatch_stack() == 0  # fake tensors have no values
        and not is_functorch_wrapped_tensor(pixels)
        and pixels.shape[1] == STACK
        and pixels.is_contiguous()
        and use_numba(pixels)
    )


def _scaled_in_one_pass(pixels: Tensor) -> Tensor:
    images = len(pixels)
    out = torch.empty_like(pixels, dtype=torch.float32, memory_format=torch.channels_last)
    read = pixels.flatten(2).numpy()
    written = out.permute(0, 2, 3, 1).flatten(1).numpy()  # the memory of `out`
    parts = max(1, min(torch.get_num_threads(), pixels.nbytes // LEAST_BYTES))
    ends = [images * part // parts for part in range(parts + 1)]
    work = [slice(*span) for span in pairwise(ends)]
    in_threads([partial(_compiled(), read[part], written[part]) for part in work])
    return out


@cache
def _compiled() -> Any:
    return compiled(_interleave)


def _interleave(pixels: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]) -> None:
    """Write pixels (B, 4, P) uint8, divided by 255, to out (B, P * 4) float32."""
    largest = np.float32(255)
    for image in range(len(pixels)):
        a, b, c, d = pixels[image, 0], pixels[image, 1], pixels[image, 2], pixels[image, 3]
        row = out[image]
        # A loop over the channels, or a row of two axes, is not vectorized: six times slower.
        for p in range(a.size):
            row[4 * p] = np.float32(a[p]) / largest
            row[4 * p + 1] = np.float32(b[p]) / largest
            row[4 * p + 2] = np.float32(c[p]) / largest
            row[4 * p + 3] = np.float32(d[p]) / largest
