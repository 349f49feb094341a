"""A learning problem: a loss of a network on a batch, which can be cut into smaller batches.

Dimension key: B rows of the batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


class Problem(NamedTuple):
    """A loss that is a mean over the rows of a batch."""

    loss: Callable[[nn.Module, Any], Tensor]  # network, inputs -> ()
    inputs: Any  # tensors (B, ...) in tuples and dicts; other values are not cut
    rows: int  # B

    def take(self, index: Tensor) -> "Problem":
        """Return the same loss on some of the rows, (b,) int64."""

        def part(value: Any) -> Any:
            rows = isinstance(value, Tensor) and value.ndim > 0 and len(value) == self.rows
            return value.index_select(0, index.to(value.device)) if rows else value

        return Problem(self.loss, pytree.tree_map(part, self.inputs), len(index))

    def chunks(self, rows: int, generator: torch.Generator) -> list["Problem"]:
        """Cut the batch into random parts of so many rows each; what is left over is dropped.

        Args:
            rows: b, at most B / 2.
            generator: draws the parts, on the CPU.

        Raises:
            ValueError: b is out of range.
        """
        if not 1 <= rows <= self.rows // 2:
            raise ValueError(f"{rows} rows per part: it must be from 1 to {self.rows // 2}")
        order = torch.randperm(self.rows, generator=generator)
        whole = order[: self.rows // rows * rows].view(-1, rows)
        return [self.take(index) for index in whole]
