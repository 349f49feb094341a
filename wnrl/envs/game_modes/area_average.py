"""Images of a smaller size whose pixels are averages over areas, as OpenCV's `INTER_AREA` does it.

The ALE's vector environment makes its observations with OpenCV, which is not needed here. The sums
are those of OpenCV in the same order, so that the pixels are the same.

Dimension key: B images, H x W pixels, K source pixels that a target pixel touches at most.
"""

import functools
import math

import numpy as np
import numpy.typing as npt

_NEGLIGIBLE = 1e-3  # part of a source pixel that OpenCV leaves out

Pixels = npt.NDArray[np.uint8]


def shrink(images: Pixels, side: int) -> Pixels:
    """Return images (B, H, W) as (B, side, side); side is at most H and W."""
    _, height, width = images.shape
    columns, weights = _touched(width, side)
    across = np.zeros((*images.shape[:2], side), np.float32)
    for column, weight in zip(columns, weights, strict=True):
        across += images[:, :, column] * weight
    rows, weights = _touched(height, side)
    down = np.zeros((len(images), side, side), np.float32)
    for row, weight in zip(rows, weights, strict=True):
        down += across[:, row] * weight[:, None]
    return np.rint(down).astype(np.uint8)


@functools.cache
def _touched(source: int, target: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return for each target pixel the source pixels that it touches, and their weights.

    Args:
        source: pixels along an axis before.
        target: pixels after.

    Returns:
        Positions (K, target) and weights (K, target), which are 0 where a pixel touches fewer.
    """
    scale = source / target
    touched = [_touched_by(k * scale, scale, source) for k in range(target)]
    most = max(map(len, touched))
    padded = [[*each, *[(0, 0.0)] * (most - len(each))] for each in touched]
    table = np.array(padded, np.float64).transpose(1, 2, 0)  # (K, 2, target)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.float32)


def _touched_by(begin: float, scale: float, source: int) -> list[tuple[int, float]]:
    """Return positions and weights of the source pixels from `begin` to `begin + scale`."""
    end, width = begin + scale, min(scale, source - begin)
    last = min(math.floor(end), source - 1)
    first = min(math.ceil(begin), last)
    touched = [(k, 1.0 / width) for k in range(first, last)]
    if first - begin > _NEGLIGIBLE:
        touched.insert(0, (first - 1, (first - begin) / width))
    if end - last > _NEGLIGIBLE:
        touched.append((last, min(end - last, 1.0, width) / width))
    return touched
